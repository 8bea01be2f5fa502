"""The forms that a key/value cache can be stored in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from triptych.core.errors import TriptychError


class CacheFormError(TriptychError):
    """A form that is not known, or a graph that cannot have it."""


@dataclass(frozen=True)
class CacheForm:
    """A dtype of the past and present tensors.

    bits: of a number; 0 for floats. values: how many numbers share one element of the tensor.
    """

    name: str
    dtype: ir.DataType
    bits: int = 0
    values: int = 1

    @property
    def largest(self) -> int:
        """The largest number; as far below zero lies the least that is used."""
        return int(2 ** (self.bits - 1) - 1)


CACHE_FORMS: Mapping[str, CacheForm] = {
    "fp32": CacheForm("fp32", ir.DataType.FLOAT),
    "fp16": CacheForm("fp16", ir.DataType.FLOAT16),
    "int8": CacheForm("int8", ir.DataType.INT8, bits=8),
    "int4": CacheForm("int4", ir.DataType.UINT8, bits=4, values=2),
}


def cache_form(name: str) -> CacheForm:
    """The form of that name. Raises CacheFormError, which lists the known ones."""
    try:
        return CACHE_FORMS[name]
    except KeyError:
        known = ", ".join(CACHE_FORMS)
        raise CacheFormError(f"No form {name!r} of a cache; there is {known}.") from None
