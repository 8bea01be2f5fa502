"""Prompts and single tokens each in a form of their own: attention, and weights if wanted."""

from triptych.export.prompts.choice import join_choices
from triptych.export.prompts.stored import PROMPTS_CACHE, PromptsError, store_prompts

__all__ = ["PROMPTS_CACHE", "PromptsError", "join_choices", "store_prompts"]
