"""One tensor, computed twice: by the pipeline and by the model that it should agree with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

import numpy as np

from triptych.core.ports import Array

N = TypeVar("N", int, float)


class Kind(Enum):
    """What a tensor holds, which decides how two of them are compared."""

    VALUES = "values"
    """Numbers, which agree within a tolerance; integers, which agree one by one."""
    LOGITS = "logits"
    """Numbers, whose distributions are compared as well: f32 [rows, V]."""
    TOKENS = "tokens"
    """Chosen token ids: what counts is the first that differs."""


@dataclass(frozen=True, eq=False)
class Compared:
    """What a stage wrote in one case, and what it should have written.

    stage: its label in the pipeline. port: what it wrote; for logits, at which point. actual: None
    where it was not written at all; `note` then says why. carried: what the port held when the
    pipeline ran on its own outputs, errors of earlier stages included. tolerance: None for the
    one that holds for all. counted: how many tokens count, where those after a tie do not.
    """

    stage: str
    port: str
    case: str
    actual: Array | None
    expected: Array
    kind: Kind = Kind.VALUES
    carried: Array | None = None
    tolerance: float | None = None
    counted: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Check:
    """How far one stage's port is off, in one case or in the worst of several.

    absolute: the largest difference (ids: how many differ). relative: the same, divided by the
    largest expected value (ids: by their number). cosine: of the two as vectors, the smallest.
    carried: the relative error that earlier stages' errors add up to there. kl_mean, kl_max: the
    divergence of the expected distribution from the pipeline's, nats a row. top1: the share of
    rows with the same winner. first_divergent: how many tokens were the same before the first
    other one. rows: of logits.
    """

    stage: str
    port: str
    case: str
    absolute: float
    relative: float
    tolerance: float
    cosine: float | None = None
    carried: float | None = None
    kl_mean: float | None = None
    kl_max: float | None = None
    top1: float | None = None
    first_divergent: int | None = None
    rows: int = 0
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; one that is not a number is not."""
        return self.relative <= self.tolerance


def check(compared: Compared, tolerance: float) -> Check:
    """Measures one comparison. A wrong shape or nothing at all is an infinite error."""
    tolerance = tolerance if compared.tolerance is None else compared.tolerance
    actual, expected = compared.actual, compared.expected
    exact = np.issubdtype(expected.dtype, np.integer)
    absolute, relative = _errors(
        None if actual is None else actual[: compared.counted], expected[: compared.counted]
    )
    found = Check(
        stage=compared.stage,
        port=compared.port,
        case=compared.case,
        absolute=absolute,
        relative=relative,
        tolerance=0.0 if exact else tolerance,
        note=compared.note or _shapes(actual, expected),
    )
    if compared.carried is not None:
        found = replace(found, carried=_errors(compared.carried, expected)[1])
    if compared.kind is Kind.TOKENS:
        return replace(found, first_divergent=_first_divergent(actual, expected))
    if actual is None or actual.shape != expected.shape:
        return found
    if not exact:
        found = replace(found, cosine=_cosine(actual, expected))
    return _distributions(found, actual, expected) if compared.kind is Kind.LOGITS else found


def worst(checks: Sequence[Check]) -> Check:
    """One check for all cases of a port: its largest errors, and the case of the largest."""
    # A relative error that is not a number is worse than any that is.
    first = max(checks, key=lambda one: (not one.relative <= np.inf, one.relative))
    rows = sum(one.rows for one in checks)
    return replace(
        first,
        absolute=max(one.absolute for one in checks),
        cosine=_extreme(min, [one.cosine for one in checks]),
        carried=_extreme(max, [one.carried for one in checks]),
        kl_mean=_mean(checks, [one.kl_mean for one in checks]),
        kl_max=_extreme(max, [one.kl_max for one in checks]),
        top1=_mean(checks, [one.top1 for one in checks]),
        first_divergent=_extreme(min, [one.first_divergent for one in checks]),
        rows=rows,
    )


def _extreme(choose: Callable[[list[N]], N], values: Sequence[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None


def _mean(checks: Sequence[Check], values: Sequence[float | None]) -> float | None:
    """Over all rows of logits; a case that could not be measured is left out."""
    known = [
        (value, one.rows) for value, one in zip(values, checks, strict=True) if value is not None
    ]
    rows = sum(count for _, count in known)
    return sum(value * count for value, count in known) / rows if rows else None


def _errors(actual: Array | None, expected: Array) -> tuple[float, float]:
    if actual is None or actual.shape != expected.shape:
        return float("inf"), float("inf")
    if expected.size == 0:
        return 0.0, 0.0
    if np.issubdtype(expected.dtype, np.integer):
        if not np.issubdtype(actual.dtype, np.integer):
            return float("inf"), float("inf")
        wrong = float((actual != expected).sum())
        return wrong, wrong / expected.size
    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        return float("inf"), float("inf")
    absolute = float(np.abs(actual.astype(np.float32) - expected).max())
    largest = float(np.abs(expected).max())
    return absolute, absolute / largest if largest else absolute


def _shapes(actual: Array | None, expected: Array) -> str:
    if actual is None or actual.shape == expected.shape:
        return ""
    return f"its shape is {list(actual.shape)} where {list(expected.shape)} is expected"


def _cosine(actual: Array, expected: Array) -> float | None:
    """Of the two as vectors; None where a length is zero or a value is not finite."""
    one, other = actual.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    lengths = np.sqrt(one @ one) * np.sqrt(other @ other)
    if not (np.isfinite(lengths) and lengths > 0):
        return None
    return float(one @ other / lengths)


def _distributions(found: Check, actual: Array, expected: Array) -> Check:
    if not (len(expected) and np.isfinite(actual).all() and np.isfinite(expected).all()):
        return replace(found, rows=len(expected))
    right, ours = _log_softmax(expected), _log_softmax(actual)
    divergence = (np.exp(right) * (right - ours)).sum(axis=-1)
    same = actual.argmax(axis=-1) == expected.argmax(axis=-1)
    return replace(
        found,
        kl_mean=max(0.0, float(divergence.mean())),
        kl_max=max(0.0, float(divergence.max())),
        top1=float(same.mean()),
        rows=len(expected),
    )


def _log_softmax(logits: Array) -> Array:
    rows = logits.astype(np.float64)
    rows = rows - rows.max(axis=-1, keepdims=True)
    shifted: Array = rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))
    return shifted


def _first_divergent(actual: Array | None, expected: Array) -> int | None:
    """How many tokens are the same before the first that is not; None where all are."""
    if actual is None:
        return 0
    shared = min(len(actual), len(expected))
    parted = np.flatnonzero(actual[:shared] != expected[:shared])
    if parted.size:
        return int(parted[0])
    return None if len(actual) == len(expected) else shared
