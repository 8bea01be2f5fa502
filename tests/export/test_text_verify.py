"""`verify` holds an export of a text-only decoder against transformers."""

from __future__ import annotations

import json

import pytest

from tests.export.text_checkpoints import TEXT_SHAPES, text_checkpoint
from triptych.export import export_checkpoint, verify_export

STEPS = 3
FEW = ("qwen3, biased, a window", "qwen2, untied, yarn", "llama, llama3, tied")

EXACT = {
    "fp16": "format: 1\ndefault: {precision: fp16}\n",
    "int8": "format: 1\ndefault: {precision: int8, accuracy_level: 1}\n",
    "int4": "format: 1\ndefault: {precision: int4, accuracy_level: 1}\n",
}


def assert_passed(result):
    computed = [one for one in result.checks if "weights" not in one.port]
    assert {one.stage for one in computed} >= {"positions", "embeddings", "decoder"}
    assert max(one.relative for one in computed) < 1e-4
    assert result.passed


@pytest.mark.parametrize("name", FEW)
def test_a_good_export_passes(tmp_path, name):
    checkpoint = text_checkpoint(tmp_path / "checkpoint", TEXT_SHAPES[name])
    out = export_checkpoint(checkpoint, tmp_path / "out")
    result = verify_export(out, checkpoint, steps=STEPS)
    assert result.family == TEXT_SHAPES[name].family
    assert_passed(result)


@pytest.mark.parametrize("precision", EXACT)
@pytest.mark.parametrize("name", FEW)
def test_other_precisions_equal_the_weights_they_store(tmp_path, name, precision):
    """With products in float32, so that what is left is the order of sums."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(EXACT[precision])
    checkpoint = text_checkpoint(tmp_path / "checkpoint", TEXT_SHAPES[name])
    out = export_checkpoint(checkpoint, tmp_path / "out", recipe=recipe)
    assert_passed(verify_export(out, checkpoint, steps=STEPS, tolerance=1e-4))


def test_a_rotation_that_was_lost_is_found_in_the_decoder(tmp_path):
    shape = TEXT_SHAPES["qwen2, untied, yarn"]
    checkpoint = text_checkpoint(tmp_path / "checkpoint", shape)
    wrong = text_checkpoint(tmp_path / "wrong", shape)
    config = {**shape.config(), "rope_scaling": None}
    (wrong / "config.json").write_text(json.dumps(config))
    out = export_checkpoint(wrong, tmp_path / "out")
    failure = verify_export(out, checkpoint, steps=STEPS).first_failure
    assert failure is not None
    assert failure.stage == "decoder"
