"""Qwen2-VL and Qwen2.5-VL as transformers runs them: what an export is held against."""

from __future__ import annotations

from triptych.export.verification.patches import PatchReference


class Qwen2VLReference(PatchReference):
    """A Qwen2-VL checkpoint."""

    architecture = "Qwen2VLForConditionalGeneration"


class Qwen25VLReference(PatchReference):
    """A Qwen2.5-VL checkpoint."""

    architecture = "Qwen2_5_VLForConditionalGeneration"
