"""An export with blocks is verified: it computes what its blocks say, and they are the weights."""

from __future__ import annotations

from tests.export.checkpoints import SHAPES, random_checkpoint
from triptych.export import export_checkpoint, verify_export
from triptych.export.precision.recipe_file import recorded_recipe

MIXED = {
    "format": 1,
    "default": {"precision": "int4", "method": "hqq"},
    "vision": {"precision": "int8", "block": "row"},
    "head": "fp16",
    "weights": {"*.layers.0.*": "fp32", "*.down_proj.weight": {"block": 64, "symmetric": True}},
}


def test_a_mixed_recipe_passes_and_another_seed_does_not(tmp_path):
    shape = SHAPES["untied, one kv head"]
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=shape)
    recipe = recorded_recipe(MIXED, "a test", name="mixed")
    out = export_checkpoint(checkpoint, tmp_path / "out", recipe=recipe)
    found = verify_export(out, checkpoint, steps=4)
    assert found.passed, found.first_failure
    assert found.precision == "mixed"
    other = random_checkpoint(tmp_path / "other", shape=shape, seed=1)
    assert verify_export(out, other, steps=4).first_failure.port == "weights"
