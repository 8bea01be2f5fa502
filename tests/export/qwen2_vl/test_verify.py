"""`verify` holds an export of Qwen2-VL or Qwen2.5-VL against transformers, and says what broke."""

from __future__ import annotations

import json

import pytest

from tests.export.qwen2_vl.checkpoints import VL_SHAPES, vl_checkpoint
from triptych.export import export_checkpoint, verify_export

STEPS = 3
FEW = ("Qwen2-VL, untied, saved anew", "Qwen2.5-VL, tied")

EXACT = {
    "fp16": "format: 1\ndefault: {precision: fp16}\n",
    "int8": "format: 1\ndefault: {precision: int8, accuracy_level: 1}\n",
    "int4": "format: 1\ndefault: {precision: int4, accuracy_level: 1}\n",
}


def assert_passed(result):
    computed = [one for one in result.checks if "weights" not in one.port]
    assert {one.stage for one in computed} >= {"vision_encoder", "mrope", "merge", "decoder"}
    assert max(one.relative for one in computed) < 1e-4
    assert result.passed


@pytest.mark.parametrize("name", [*FEW, "Qwen2.5-VL, windows everywhere"])
def test_a_good_export_passes(vl_models, name):
    model = vl_models(name)
    result = verify_export(model.folder, model.checkpoint, steps=STEPS)
    assert result.family == model.shape.family
    assert_passed(result)


@pytest.mark.parametrize("precision", EXACT)
@pytest.mark.parametrize("name", FEW)
def test_other_precisions_equal_the_weights_they_store(vl_models, tmp_path, name, precision):
    """With products in float32, so that what is left is the order of sums."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(EXACT[precision])
    checkpoint = vl_models(name).checkpoint
    out = export_checkpoint(checkpoint, tmp_path / "out", recipe=recipe)
    assert_passed(verify_export(out, checkpoint, steps=STEPS, tolerance=1e-4))


WRONG = {
    "windows that reach too far": ("window_size", 224, "vision_encoder"),
    "a block without its windows": ("fullatt_block_indexes", [0, 1, 3], "vision_encoder"),
    "swapped sections": ("mrope_section", [3, 3, 2], "decoder"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_was_exported_from_a_wrong_config_is_named(tmp_path, case):
    key, value, stage = WRONG[case]
    shape = VL_SHAPES["Qwen2.5-VL, tied"]
    checkpoint = vl_checkpoint(tmp_path / "checkpoint", shape)
    wrong = vl_checkpoint(tmp_path / "wrong", shape)
    config = json.loads((wrong / "config.json").read_text())
    part = config["rope_scaling"] if key == "mrope_section" else config["vision_config"]
    assert part[key] != value
    part[key] = value
    (wrong / "config.json").write_text(json.dumps(config))
    out = export_checkpoint(wrong, tmp_path / "out")
    failure = verify_export(out, checkpoint, steps=STEPS).first_failure
    assert failure is not None
    assert failure.stage == stage
