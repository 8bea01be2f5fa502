"""Which prompts of a pipeline may begin with what is known of others."""

from __future__ import annotations

import math

import numpy as np

from triptych.core.assembly.assembly import Assembly
from triptych.core.sequences.prefix_cache import DEFAULT_BYTES, PrefixCache
from triptych.core.stages import Stage
from triptych.core.wiring.wired import Wiring

FEW_TOKENS = 32
"""Fewer tokens than these may attend over keys and values in whole numbers by another kernel than
more do, with other roundings, unless the graph says from how many on they do not."""


def prefix_cache(assembly: Assembly) -> PrefixCache:
    """Where sequences wait for prompts that begin as they do.

    None are shared where what a token sees depends on how a prompt was split, or on all of it.
    """
    given = assembly.spec.session.prefix_cache
    exact = all(policy.exact for policy in assembly.policies.values())
    max_bytes = DEFAULT_BYTES if given is True else int(given)
    shares = exact and not assembly.wiring.whole
    return PrefixCache(max_bytes if shares else 0, _token_bytes(assembly.wiring))


def least_forwarded(wiring: Wiring) -> int:
    """How many tokens of a prompt are forwarded at least; see `Sequence.retake`."""
    return max(map(_fewest_alike, (wired.stage for wired in wiring.stages)), default=0)


def _fewest_alike(stage: Stage) -> int:
    """From how many tokens on a stage computes the end of a prompt as it does all of it."""
    if not any(np.issubdtype(pair.past.dtype, np.integer) for pair in stage.cache_pairs):
        return 0
    said: int | None = getattr(getattr(stage, "graph", None), "prompt_tokens", None)
    return FEW_TOKENS if said is None else said


def _token_bytes(wiring: Wiring) -> int:
    """What one token takes in all caches, as far as the graphs say."""
    return sum(
        math.prod(axis for axis in pair.past.axes if isinstance(axis, int))
        * np.dtype(pair.past.dtype).itemsize
        for wired in wiring.stages
        for pair in wired.stage.cache_pairs
    )
