"""Which rotary embedding a text config asks for: the variants that published checkpoints use.

Each gives the frequencies that ROPE_INIT_FUNCTIONS of transformers 5.23 gives. What depends on
the length of the sequence (`dynamic`, `longrope`) is not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from triptych.export.graphs.rotary import inverse_frequencies
from triptych.export.graphs.shape import RotaryPlan
from triptych.export.section import Section

Floats = npt.NDArray[np.float32]

# Turns of a whole context between which YaRN goes over from one rule to the other.
YARN_FAST, YARN_SLOW = 32.0, 1.0
# Keeps YaRN's ramp from being a step.
YARN_RAMP = 0.001


def rotary_plan(
    section: Section, head: int, *, theta: float, axes: tuple[int, ...] | None = None
) -> RotaryPlan:
    """The plan that a text config names, by default the plain one.

    head: the width of an attention head. theta: the base, where the config names none. axes: see
    `RotaryPlan`. Raises ModelConfigError for a variant that is not known or lacks a value.
    """
    rope = _Rope(section)
    rope.require(VARIANTS)
    if rope.number("partial_rotary_factor", 1.0) != 1.0:
        rope.refuse("partial_rotary_factor", "whole heads are turned, which is 1.0")
    base = rope.number("rope_theta", theta)
    frequencies, scaling = VARIANTS[rope.kind](inverse_frequencies(base, head), base, rope)
    return RotaryPlan(frequencies, axes, scaling)


class _Rope:
    """The rotary settings of a config, by whichever key they have there."""

    def __init__(self, section: Section) -> None:
        self._section, self._values = section, section.rope()
        self._key = section.rope_key
        if any(isinstance(value, Mapping) for value in self._values.values()):
            section.refuse(self._key, "all layers have the same")
        # Before transformers 4.43, this was the name of the key.
        self._kind_key = "rope_type" if "rope_type" in self._values else "type"
        kind = self._values.get(self._kind_key, "default")
        # Before transformers 5, a config with `mrope_section` said so here.
        self.kind = "default" if kind == "mrope" else str(kind)

    def require(self, kinds: Iterable[str]) -> None:
        if self.kind not in kinds:
            self.refuse(self._kind_key, f"there is {', '.join(kinds)}")

    def number(self, key: str, default: float | None = None) -> float:
        value = self._values.get(key)
        value = default if value is None else value
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            self.refuse(key, "a number above zero")
        return float(value)

    def given(self, key: str) -> bool:
        return self._values.get(key) is not None

    def flag(self, key: str, *, default: bool) -> bool:
        return bool(self._values.get(key, default))

    def context(self) -> float:
        """How many tokens the model was first trained on."""
        if self._section.values.get("original_max_position_embeddings") is not None:
            return float(self._section.count("original_max_position_embeddings"))
        if self.given("original_max_position_embeddings"):
            return self.number("original_max_position_embeddings")
        return float(self._section.count("max_position_embeddings"))

    def longest(self) -> float:
        return float(self._section.count("max_position_embeddings"))

    def refuse(self, key: str, wanted: str) -> NoReturn:
        self._section.refuse(f"{self._key}.{key}", wanted)


def _default(plain: Floats, base: float, rope: _Rope) -> tuple[Floats, float]:
    """RoFormer (arXiv 2104.09864)."""
    del base, rope
    return plain, 1.0


def _linear(plain: Floats, base: float, rope: _Rope) -> tuple[Floats, float]:
    """Position interpolation (arXiv 2306.15595): every frequency is `factor` times slower."""
    del base
    return plain / np.float32(rope.number("factor")), 1.0


def _llama3(plain: Floats, base: float, rope: _Rope) -> tuple[Floats, float]:
    """Llama 3.1: long waves are slowed down, short ones kept, those between blended."""
    del base
    factor, context = rope.number("factor"), rope.context()
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    if high <= low:
        rope.refuse("high_freq_factor", f"more than low_freq_factor, {low:g}")
    waves = np.float32(2 * math.pi) / plain
    kept = (np.float32(context) / waves - np.float32(low)) / np.float32(high - low)
    blended = (1 - kept) * plain / np.float32(factor) + kept * plain
    long, short = waves > context / low, waves < context / high
    return np.where(long, plain / np.float32(factor), np.where(short, plain, blended)), 1.0


def _yarn(plain: Floats, base: float, rope: _Rope) -> tuple[Floats, float]:
    """YaRN (arXiv 2309.00071): interpolated by parts, and a sharper softmax."""
    context = rope.context()
    factor = rope.number("factor", rope.longest() / context)
    dim = 2 * len(plain)

    def frequency_of(turns: float) -> float:
        """Which frequency turns so often within the context, as a fraction of an index."""
        return dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    first = frequency_of(rope.number("beta_fast", YARN_FAST))
    last = frequency_of(rope.number("beta_slow", YARN_SLOW))
    if rope.flag("truncate", default=True):
        first, last = float(math.floor(first)), float(math.ceil(last))
    first, last = max(first, 0.0), min(last, dim - 1.0)
    if first == last:
        last += YARN_RAMP
    index = np.arange(len(plain), dtype=np.float32)
    slowed = np.clip((index - np.float32(first)) / np.float32(last - first), 0, 1)
    frequencies = plain / np.float32(factor) * slowed + plain * (1 - slowed)
    return frequencies.astype(np.float32), _yarn_scaling(factor, rope)


def _yarn_scaling(factor: float, rope: _Rope) -> float:
    """What cosine and sine are multiplied by (equation 22 of the paper, or DeepSeek's quotient)."""

    def sharpened(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    if rope.given("attention_factor"):
        return rope.number("attention_factor")
    if rope.given("mscale") and rope.given("mscale_all_dim"):
        return sharpened(rope.number("mscale")) / sharpened(rope.number("mscale_all_dim"))
    return sharpened(1.0)


VARIANTS: Mapping[str, Callable[[Floats, float, _Rope], tuple[Floats, float]]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}
"""Frequencies and scaling of a variant, from the plain frequencies, the base and the settings."""
