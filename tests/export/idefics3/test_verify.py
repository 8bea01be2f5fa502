"""`verify` holds an export over tiles against transformers, and says where one is broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.export.idefics3.checkpoints import SHAPES, TinyShape, random_checkpoint
from triptych.export import export_checkpoint, verify_export
from triptych.export.idefics3.config import VisionConfig
from triptych.export.idefics3.vision import _TileGraph
from triptych.plugins.processors.tiles import TileImages

STEPS = 2
SHAPE = SHAPES["idefics3"]


def exported(root: Path, shape: TinyShape = SHAPE, *, precision: str = "fp32") -> tuple[Path, Path]:
    """An export, and the checkpoint that it was made of."""
    checkpoint = random_checkpoint(root / "checkpoint", shape)
    return export_checkpoint(checkpoint, root / "out", precision=precision), checkpoint


@pytest.mark.parametrize("name", SHAPES)
def test_a_good_export_passes(tmp_path: Path, name: str) -> None:
    result = verify_export(*exported(tmp_path, SHAPES[name]), steps=STEPS)
    compared = {(one.stage, one.port) for one in result.checks}
    assert compared >= {
        ("processor", "input_ids"),
        ("processor", "pixel_values"),
        ("vision_encoder", "image_features"),
        ("merge", "inputs_embeds"),
        ("decoder", "logits of the prompt"),
    }
    assert result.passed
    assert max(one.relative for one in result.checks) < 1e-5


def test_pictures_are_made_up_where_there_is_no_processor(tmp_path: Path) -> None:
    out, checkpoint = exported(tmp_path)
    for folder in (out, checkpoint):
        (folder / "tokenizer.json").unlink()
    result = verify_export(out, checkpoint, steps=STEPS)
    assert result.passed
    [features] = [one for one in result.checks if one.port == "image_features"]
    assert "picture" in features.case


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions_compute_with_their_own_rounded_weights(
    tmp_path: Path, precision: str
) -> None:
    assert verify_export(*exported(tmp_path, precision=precision), steps=STEPS).passed


def mirrored(self: VisionConfig) -> tuple[int, ...]:
    return tuple(reversed(range(self.table**2)))


def unshuffled(self: _TileGraph, hidden: object) -> object:
    """Patches in raster order side by side, instead of neighbours."""
    config, graph = self.config, self.graph
    width = config.hidden * config.shuffle**2
    joined = graph.op("Reshape", hidden, graph.constant([-1, width]))
    weight = self.connector.under("modality_projection.proj").get(
        "weight", config.out_hidden, width
    )
    return self.storage.linear(graph, joined, weight)


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (VisionConfig, "positions", property(mirrored)),
        (_TileGraph, "connected", unshuffled),
    ],
    ids=["positions upside down", "no pixel shuffle"],
)
def test_a_broken_vision_graph_is_found_in_its_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, broken: object
) -> None:
    monkeypatch.setattr(owner, name, broken)
    failure = verify_export(*exported(tmp_path), steps=STEPS).first_failure
    assert failure is not None
    assert (failure.stage, failure.port) == ("vision_encoder", "image_features")


def test_tiles_in_another_order_are_found_in_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = TileImages._tiles
    monkeypatch.setattr(
        TileImages, "_tiles", lambda self, *args, **more: np.flip(tiles(self, *args, **more), 0)
    )
    failure = verify_export(*exported(tmp_path), steps=STEPS).first_failure
    assert failure is not None
    assert (failure.stage, failure.port) == ("processor", "pixel_values")
