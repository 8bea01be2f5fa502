"""One tensor, computed twice: by the exported graphs and by the model they were made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triptych.core.ports import Array


@dataclass(frozen=True)
class Compared:
    """What a stage wrote in one case, and what it should have written.

    stage: the stage's name in the pipeline. port: what it wrote; for the decoder, at which point.
    Integer tensors are token ids, compared one by one; others are compared within a tolerance.
    """

    stage: str
    port: str
    case: str
    actual: Array
    expected: Array


@dataclass(frozen=True)
class Check:
    """The largest error of one stage's port over all cases.

    absolute: the largest difference (token ids: how many differ). relative: the same, divided by
    the largest expected value (token ids: by their number). case: where the relative error is
    largest.
    """

    stage: str
    port: str
    case: str
    absolute: float
    relative: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; one that is not a number is not."""
        return self.relative <= self.tolerance


def check(compared: Compared, tolerance: float) -> Check:
    """Measures one comparison. A wrong shape is an infinite error."""
    absolute, relative = _errors(compared.actual, compared.expected)
    tokens = np.issubdtype(compared.expected.dtype, np.integer)
    return Check(
        stage=compared.stage,
        port=compared.port,
        case=compared.case,
        absolute=absolute,
        relative=relative,
        tolerance=0.0 if tokens else tolerance,
    )


def _errors(actual: Array, expected: Array) -> tuple[float, float]:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return float("inf"), float("inf")
    if expected.size == 0:
        return 0.0, 0.0
    if np.issubdtype(expected.dtype, np.integer):
        wrong = float((actual != expected).sum())
        return wrong, wrong / expected.size
    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        return float("inf"), float("inf")
    absolute = float(np.abs(actual - expected).max())
    largest = float(np.abs(expected).max())
    return absolute, absolute / largest if largest else absolute
