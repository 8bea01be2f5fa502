"""A decoder whose attention computes in float16, beside transformers in float32."""

from __future__ import annotations

import pytest

from tests.export.text_checkpoints import TEXT_SHAPES, text_checkpoint
from triptych.export import export_checkpoint, verify_export

# With a window, and without norms of queries and keys.
FEW = ("qwen3, biased, a window", "qwen2, untied, yarn", "llama, llama3, tied")


@pytest.mark.parametrize("name", FEW)
def test_attention_in_float16_is_that_of_transformers_to_its_rounding(tmp_path, name):
    checkpoint = text_checkpoint(tmp_path / "checkpoint", TEXT_SHAPES[name])
    out = export_checkpoint(checkpoint, tmp_path / "out", kv_cache="fp16")
    result = verify_export(out, checkpoint, steps=3)
    errors = [one.relative for one in result.checks if one.stage == "decoder"]
    assert 1e-4 < max(errors) < 5e-3
    assert result.passed
