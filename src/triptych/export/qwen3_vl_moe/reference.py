"""Qwen3-VL-MoE as transformers runs it: what an export is held against."""

from __future__ import annotations

from triptych.export.qwen3_vl.reference import Qwen3VLReference


class Qwen3VLMoeReference(Qwen3VLReference):
    """The models with experts."""

    architecture = "Qwen3VLMoeForConditionalGeneration"
