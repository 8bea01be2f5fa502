"""The sampling chain that a model's own files ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_SAMPLER = {"temperature": 0.7, "top_k": 50, "top_p": 0.9}
# What transformers assumes for a key that a generation_config.json leaves out, and the values
# that change nothing, which need no line.
ASSUMED_SAMPLER = {"temperature": 1.0, "top_k": 50, "top_p": 1.0}
NEUTRAL_SAMPLER = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def sampler(generation: Mapping[str, Any] | None) -> list[str]:
    """The steps of the sampling chain that a generation_config.json asks for.

    `do_sample: false` is greedy. A config that is silent about sampling, or absent, gets the
    default chain.
    """
    generation = generation or {}
    asked = {key: generation[key] for key in ASSUMED_SAMPLER if _is_number(generation.get(key))}
    if generation.get("do_sample") is False or asked.get("temperature") == 0:
        return ["greedy"]
    if "do_sample" not in generation and not asked:
        values: Mapping[str, float] = DEFAULT_SAMPLER
    else:
        values = {**ASSUMED_SAMPLER, **asked}
    steps = [f"{key}: {value}" for key, value in values.items() if value != NEUTRAL_SAMPLER[key]]
    return [*steps, "draw"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
