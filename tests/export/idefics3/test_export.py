"""What an export of this family is made of, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.export.idefics3.checkpoints import SHAPES, TinyShape, random_checkpoint
from triptych.core.errors import TriptychError
from triptych.core.graphs.header import read_header
from triptych.export import export_checkpoint
from triptych.export.idefics3 import config as family
from triptych.export.idefics3.exporter import Idefics3Exporter

SHAPE = SHAPES["idefics3"]

# Imports of the exporter's and the runtime's code find no torch and no transformers.
WITHOUT_TORCH = """\
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from pathlib import Path
from PIL import Image
import triptych
from triptych.export import export_checkpoint
folder = export_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]))
reply = triptych.load(folder).generate("a", images=[Image.new("RGB", (90, 60), "red")])
print(len(reply.tokens))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("idefics3")
    return export_checkpoint(random_checkpoint(root / "checkpoint", SHAPE), root / "out")


def test_the_pipeline_file_names_nothing_of_other_families(folder: Path) -> None:
    lines = (folder / "pipeline.yaml").read_text().splitlines()
    at = lines.index("stages:")
    assert lines[at + 1 : at + 6] == [
        "  - vision_encoder: vision_encoder.onnx",
        "  - positions",
        "  - embeddings: embeddings.onnx",
        '  - merge: {"deepstack": false}',
        "  - decoder: decoder.onnx",
    ]


def test_the_graphs_have_the_ports_of_the_design(folder: Path) -> None:
    ports = {
        port.name: (port.dtype, port.axes)
        for name in ("vision_encoder", "decoder")
        for port in read_header(folder / f"{name}.onnx").inputs
    }
    assert ports["pixel_values"] == ("float32", ("tiles", 3, SHAPE.side, SHAPE.side))
    assert ports["position_ids"] == ("int64", ("B", "S"))
    assert "deepstack_embeds" not in ports


def test_neither_exporting_nor_running_needs_torch(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", SHAPE)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, checkpoint, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "100"


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "idefics3"},
        {"model_type": "smolvlm"},
        {"architectures": ["SmolVLMForConditionalGeneration"]},
    ],
    ids=str,
)
def test_the_family_is_known_by_its_config(config: dict[str, Any]) -> None:
    assert Idefics3Exporter.accepts(config)
    assert not Idefics3Exporter.accepts({"model_type": "idefics2", "architectures": None})


def test_what_a_config_leaves_out_is_as_in_transformers() -> None:
    vision, text = transformers.Idefics3VisionConfig(), transformers.LlamaConfig()
    for key, value in family.VISION_DEFAULTS.items():
        assert getattr(vision, key) == value
    for key, value in family.TEXT_DEFAULTS.items():
        assert getattr(text, key) == value
    assert text.rope_parameters["rope_theta"] == family.DEFAULT_THETA
    assert transformers.Idefics3Config().scale_factor == family.DEFAULT_SCALE
    # The defaults of transformers do not fit each other: 7 patches a side, shuffled by 2.
    silent: dict[str, Any] = {"text_config": {}, "vision_config": {}, "scale_factor": 7}
    read = family.read_config(silent, "config.json", tile=None)
    assert (read.text.kv_heads, read.text.head, read.tied) == (32, 128, False)


REFUSED: dict[str, tuple[TinyShape, str]] = {
    "another text model": (
        replace(SHAPE, text={"model_type": "mistral"}),
        "text_config.model_type is 'mistral', which cannot be exported: there is llama",
    ),
    "another activation": (
        replace(SHAPE, vision={"hidden_act": "quick_gelu"}),
        "vision_config.hidden_act is 'quick_gelu'.*: there is gelu_pytorch_tanh, gelu",
    ),
    "a shuffle that does not fit": (
        replace(SHAPE, scale=4),
        r"vision_config.patch_size is 8.*: tiles of 48 pixels need a multiple of 4 patches",
    ),
    "heads that do not fit": (
        replace(SHAPE, vision={"num_attention_heads": 3}),
        "vision_config.hidden_size is 32.*: 3 heads need a multiple of 3",
    ),
    "a rotation by length": (
        replace(SHAPE, text={"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
        "there is default, linear, llama3, yarn",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_refused_by_name(tmp_path: Path, case: str) -> None:
    shape, message = REFUSED[case]
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape)
    with pytest.raises(TriptychError, match=message):
        export_checkpoint(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_weight_of_another_shape_is_refused(tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tmp_path / "checkpoint", SHAPE)
    config = json.loads((checkpoint / "config.json").read_text())
    config["vision_config"]["image_size"] = 64
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(TriptychError, match=r"position_embedding.weight has the shape \[36, 32\]"):
        export_checkpoint(checkpoint, tmp_path / "out")


def test_tiles_are_of_the_size_that_the_image_processor_cuts(tmp_path: Path) -> None:
    shape = SHAPES["biased, tiles below the table"]
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape)
    (checkpoint / "preprocessor_config.json").rename(tmp_path / "settings.json")
    settings = json.loads((tmp_path / "settings.json").read_text())
    alone = export_checkpoint(checkpoint, tmp_path / "alone")
    (checkpoint / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    nested = export_checkpoint(checkpoint, tmp_path / "nested")
    sides = [
        read_header(folder / "vision_encoder.onnx").inputs[0].axes[-1] for folder in (alone, nested)
    ]
    assert sides == [shape.image_size, shape.tile]
