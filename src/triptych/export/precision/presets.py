"""The precisions that have a name."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.core.errors import TriptychError
from triptych.export.builder import FLOAT, FLOAT16
from triptych.export.precision.floats import Float
from triptych.export.precision.storage import Precision

PRECISIONS: Mapping[str, Precision] = {
    "fp32": Float("fp32", FLOAT),
    "fp16": Float("fp16", FLOAT16),
}


class PrecisionError(TriptychError):
    """A precision that is not known."""


def precision_named(name: str) -> Precision:
    """The precision of that name. Raises PrecisionError, which lists the known ones."""
    try:
        return PRECISIONS[name]
    except KeyError:
        raise PrecisionError(f"No precision {name!r}; there is {', '.join(PRECISIONS)}.") from None
