"""The checkpoints run by transformers. The only file here that needs torch."""

from __future__ import annotations

from triptych.export.verification.checkpoint import TransformersReference


class Qwen3Reference(TransformersReference):
    """A Qwen3 checkpoint."""

    architecture = "Qwen3ForCausalLM"


class Qwen2Reference(TransformersReference):
    """A Qwen2 or Qwen2.5 checkpoint."""

    architecture = "Qwen2ForCausalLM"


class LlamaReference(TransformersReference):
    """A Llama checkpoint."""

    architecture = "LlamaForCausalLM"
