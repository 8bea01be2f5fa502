"""How far one array is from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.core.ports import Array
from triptych.core.sampling.logprobs import log_softmax

LOGITS = ("logits", "early_logits")
"""Ports, by the part of their names before a dot, whose last axis is the vocabulary."""


@dataclass(frozen=True)
class Distance:
    """How far `there` is from `here`.

    equal: to the bit, values and dtype aside. relative: the norm of the difference over that of
    `here`; infinite where `here` is all zeros. largest: the largest difference of two numbers.
    cosine: of the angle between them. kl: of logits, the largest Kullback-Leibler divergence of a
    row, from the distribution here to the one there, in nats. top1: of logits, the part of the rows
    with the same most likely token. reason: why they cannot be compared, else None.
    """

    equal: bool
    relative: float = 0.0
    largest: float = 0.0
    cosine: float = 1.0
    kl: float | None = None
    top1: float | None = None
    reason: str | None = None

    def exceeds(self, tolerance: float) -> bool:
        """Whether the arrays differ by more than that, relatively; 0: at all."""
        return self.reason is not None or (
            not self.equal and not (tolerance and self.relative <= tolerance)
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: what is infinite or no number is null."""
        return {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in vars(self).items()
            if value is not None
        }


def distance(here: Array, there: Array, port: str) -> Distance:
    """How far `there` is from `here`; of precisions that differ, their numbers are compared."""
    if here.shape != there.shape:
        shapes = f"{list(here.shape)} here and {list(there.shape)} there"
        return Distance(False, np.inf, np.inf, np.nan, reason=f"shapes differ: {shapes}")
    logits = port.partition(".")[0] in LOGITS and here.ndim > 0 and here.size > 0
    if np.array_equal(here, there):
        return Distance(True, kl=0.0 if logits else None, top1=1.0 if logits else None)
    one, other = _flat(here), _flat(there)
    bad = ~np.isfinite(one) | ~np.isfinite(other)
    if bad.any():
        # What is -inf in both, as a mask has it, is the same.
        if (one[bad] != other[bad]).any():
            return Distance(False, np.inf, np.inf, np.nan, reason=_unfinite(one, other))
        one, other = one[~bad], other[~bad]
    norm, otherwise = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    apart = float(np.linalg.norm(one - other))
    kl, top1 = _of_logits(here, there) if logits else (None, None)
    return Distance(
        False,
        apart / norm if norm else (np.inf if apart else 0.0),
        float(np.abs(one - other).max(initial=0.0)),
        float(one @ other / (norm * otherwise)) if norm and otherwise else 0.0,
        kl,
        top1,
    )


def _unfinite(one: Array, other: Array) -> str:
    counts = [int((~np.isfinite(values)).sum()) for values in (one, other)]
    return f"not finite: {counts[0]} numbers here and {counts[1]} there"


def _flat(value: Array) -> Array:
    return np.asarray(value, np.float64).reshape(-1)


def _of_logits(here: Array, there: Array) -> tuple[float, float]:
    rows = here.shape[-1]
    one = log_softmax(np.asarray(here, np.float64).reshape(-1, rows))
    other = log_softmax(np.asarray(there, np.float64).reshape(-1, rows))
    kl = np.sum(np.exp(one) * (one - other), axis=-1)
    same = one.argmax(-1) == other.argmax(-1)
    return max(0.0, float(kl.max())), float(same.mean())
