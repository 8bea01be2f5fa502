"""The settings of one call: what `generate`, a request of a batch or a chat may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from triptych.core.config.chain import SamplingFlags
from triptych.core.config.spec import NO_FLAGS
from triptych.core.dataclass import dataclass
from triptych.core.errors import InputError
from triptych.core.messages import guess

NAMES = (
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "no_sample",
    "sampler",
    "seed",
    "stop",
    "logprobs",
)
"""The settings that a call takes."""


@dataclass(frozen=True)
class CallOptions:
    """Settings of one call; None where the pipeline's own count.

    flags: changes of the sampling chain. sampler: another chain, as YAML has it; it is checked
    when it is built. stop: strings that end the reply. logprobs: say how likely each token was, and
    so many of the likeliest ones; None says nothing.
    """

    flags: SamplingFlags = NO_FLAGS
    sampler: Sequence[Any] | Mapping[str, Any] | None = None
    seed: int | None = None
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    logprobs: int | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Read settings by name. Raises InputError for an unknown one, or a wrong value."""
        for name in settings:
            if name not in NAMES:
                hint = guess(name, NAMES)
                raise InputError(
                    f"there is no setting {name!r}{hint} (settings: {', '.join(NAMES)})"
                )
        no_sample = settings.get("no_sample", False)
        if not isinstance(no_sample, bool):
            raise InputError(f"no_sample is {no_sample!r}; it must be true or false")
        flags = SamplingFlags(
            temperature=settings.get("temperature"),
            top_k=settings.get("top_k"),
            top_p=settings.get("top_p"),
            no_sample=no_sample,
        )
        return cls(
            flags,
            settings.get("sampler"),
            _whole_number("seed", settings.get("seed"), least=0),
            _whole_number("max_new_tokens", settings.get("max_new_tokens"), least=1),
            _strings(settings.get("stop")),
            _whole_number("logprobs", settings.get("logprobs"), least=0),
        )


def _whole_number(name: str, value: Any, *, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return int(value)


def _strings(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    strings = (value,) if isinstance(value, str) else value
    if not isinstance(strings, list | tuple) or not all(
        isinstance(text, str) and text for text in strings
    ):
        raise InputError(f"stop is {value!r}; it must be a text, or a list of texts, none empty")
    return tuple(strings)
