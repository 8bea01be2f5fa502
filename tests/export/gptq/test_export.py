"""Exports whose recipe asks for GPTQ: which weights it takes, on what, and what they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import triptych
from triptych.cli.calibration import calibration_requests
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.export import export_checkpoint
from triptych.export.checkpoint import Checkpoint
from triptych.export.gptq import CalibrationError
from triptych.export.precision import RecipePrecision, stored_weights
from triptych.export.precision.joined_blocks import JOIN
from triptych.export.precision.recipe import Recipe
from triptych.export.precision.recipe_precision import UncalibratedError
from triptych.export.qwen3_vl.exporter import Qwen3VLExporter
from triptych.export.verification.tapped import TappedPipeline

CHECKPOINT = Path(__file__).parents[3] / "checkpoints" / "sketch"
LAYERS = 6
LINEARS = {
    f"model.language_model.layers.{layer}.{name}.weight"
    for layer in range(LAYERS)
    for name in (
        *(f"self_attn.{part}_proj" for part in "qkvo"),
        *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
    )
}
RECIPE = """
format: 1
default: {{precision: int4, block: 128, method: {method}, accuracy_level: 1}}
vision: fp32
embeddings: fp32
head: fp32
"""


SCENES = list(calibration_requests(None))
ASKED = SCENES[1::8]
OTHERS = [scene for index, scene in enumerate(SCENES) if index % 8 != 1]


def recipe(folder, method):
    path = folder / f"{method}.yaml"
    path.write_text(RECIPE.format(method=method), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("gptq")
    return {
        method: export_checkpoint(
            CHECKPOINT, root / method, recipe=recipe(root, method), calibration=OTHERS
        )
        for method in ("rtn", "hqq", "gptq")
    }


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return export_checkpoint(CHECKPOINT, tmp_path_factory.mktemp("exact") / "out")


def logits(folder, requests):
    pipeline = TappedPipeline(load_spec(folder, catalog=Catalog()))
    found = []
    for request in requests:
        prompt = triptych.load(folder).processor.prompt(request)
        sequence = pipeline.sequence()
        sequence.append(prompt.tokens, prompt.media)
        found.append(pipeline.forward(sequence, rows=len(prompt.tokens)).logits)
        sequence.close()
    return found


def divergence(expected, found):
    """Kullback and Leibler's, of each row of two arrays of logits."""
    logs = []
    for rows in (expected, found):
        shifted = rows.astype(np.float64) - rows.max(axis=-1, keepdims=True)
        logs.append(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
    return (np.exp(logs[0]) * (logs[0] - logs[1])).sum(axis=-1)


def test_exactly_the_linears_of_the_decoder_are_other_than_round_to_nearest(exported):
    plain, found = (stored_weights(exported[method]) for method in ("rtn", "gptq"))
    assert plain.keys() == found.keys()
    differ = {name for name, read in plain.items() if not np.array_equal(read(), found[name]())}
    assert differ == LINEARS
    graph = onnx.load(exported["gptq"] / "decoder.onnx").graph
    blocked = [node.input[1] for node in graph.node if node.op_type == "MatMulNBits"]
    assert sum(len(codes.split(JOIN)) for codes in blocked) == len(LINEARS)


def test_likelihoods_on_other_prompts_are_nearer_than_those_of_methods_without_data(
    exported, exact
):
    expected = logits(exact, ASKED)
    apart = {
        method: np.concatenate(
            [divergence(*pair) for pair in zip(expected, logits(folder, ASKED), strict=True)]
        ).mean()
        for method, folder in exported.items()
    }
    assert apart["gptq"] < 0.7 * min(apart["rtn"], apart["hqq"])


def test_a_recipe_that_asks_for_it_needs_prompts(tmp_path):
    with pytest.raises(CalibrationError, match="needs prompts to calibrate on"):
        export_checkpoint(CHECKPOINT, tmp_path / "out", recipe=recipe(tmp_path, "gptq"))
    assert [path.name for path in tmp_path.iterdir()] == ["gptq.yaml"]


def test_a_graph_without_what_was_found_is_refused():
    asked = Recipe(default={"precision": "int4", "method": "gptq"})
    exporter = Qwen3VLExporter(Checkpoint(CHECKPOINT), RecipePrecision("test", asked))
    with pytest.raises(UncalibratedError, match=r"layers.0.self_attn.q_proj.weight: .* gptq"):
        list(exporter.graphs())


def test_parts_that_are_not_calibrated_are_left_to_hqq():
    asked = Recipe(default={"precision": "int4", "method": "gptq"}, weights={"*.7.*": "fp16"})
    methods = {
        part: asked.scheme(part, "x").method
        for part in ("vision", "embeddings", "attention", "mlp", "head")
    }
    assert {part for part, method in methods.items() if method == "gptq"} == {"attention", "mlp"}
    assert {methods[part] for part in ("vision", "embeddings", "head")} == {"hqq"}
    assert asked.scheme("mlp", "a.7.b").method != "gptq"


def test_other_recipes_look_at_no_prompts(tmp_path):
    def never():
        raise AssertionError
        yield

    out = export_checkpoint(
        CHECKPOINT, tmp_path / "out", recipe=recipe(tmp_path, "rtn"), calibration=never()
    )
    assert (out / "decoder.onnx").exists()
