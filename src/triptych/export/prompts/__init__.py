"""A decoder that forwards prompts by weights in 8-bit rows, and single tokens by its blocks."""

from triptych.export.prompts.stored import PROMPTS_CACHE, PromptsError, store_prompts

__all__ = ["PROMPTS_CACHE", "PromptsError", "store_prompts"]
