"""Weights on their way from a checkpoint to a graph: declared first, made while they are written.

A table of 151,936 rows of 4,096 values is 2.5 GB in float32. It never exists whole: tensors are
made in pieces, and each piece is forgotten once it is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from triptych.core.ports import Array

# How many values one piece has at the most, unless a single row has more: 16 MiB in float32.
PIECE_VALUES = 4 * 1024**2
# Rows that are transposed at a time, so that both sides of the copy stay in the cache.
BLOCK_ROWS = 128

Pieces = Callable[[], Iterable[Sequence[Array]]]


@dataclass(frozen=True)
class Form:
    """What a tensor will be.

    settle: where only the values tell the dtype, reads them and says which it is; `dtype` is then
    the one to expect.
    """

    name: str
    shape: tuple[int, ...]
    dtype: ir.DataType
    settle: Callable[[], ir.DataType] | None = None

    @property
    def expected_bytes(self) -> int:
        """Its size in a file, if `dtype` is what it becomes."""
        return math.ceil(math.prod(self.shape) * self.dtype.itemsize)


class Bundle:
    """Tensors that come from one reading of the checkpoint, as blocks do with their scales.

    forms: what the tensors will be. pieces: gives, whenever it is called, one array per tensor
    and step; a tensor is its arrays one after the other, in C order. shared: a name for these
    bytes. Bundles of several graphs that have the same one are stored once; their forms may have
    other names and shapes, not other sizes.
    """

    def __init__(self, forms: Sequence[Form], pieces: Pieces, *, shared: str | None = None) -> None:
        self.pieces, self.shared = pieces, shared
        self.tensors = [LateTensor(self, form) for form in forms]

    @property
    def expected_bytes(self) -> int:
        """What all of its tensors take in a file."""
        return sum(tensor.form.expected_bytes for tensor in self.tensors)

    def arrays(self) -> list[Array]:
        """All tensors, each whole."""
        steps = zip(*self.pieces(), strict=True)
        return [
            np.concatenate([np.ravel(piece) for piece in step]).reshape(tensor.form.shape)
            for tensor, step in zip(self.tensors, steps, strict=True)
        ]


class LateTensor(ir.LazyTensor):
    """One tensor of a Bundle."""

    def __init__(self, bundle: Bundle, form: Form) -> None:
        super().__init__(self._whole, form.dtype, ir.Shape(form.shape), name=form.name)
        self.bundle, self.form = bundle, form
        self._settled = form.dtype if form.settle is None else None

    @property
    def dtype(self) -> ir.DataType:  # type: ignore[override]  # as the library itself does
        """Its dtype; where only the values tell it, they are read."""
        if self._settled is None:
            self._settled = self.form.settle() if self.form.settle else self.form.dtype
        return self._settled

    def __repr__(self) -> str:
        return f"LateTensor({self.name!r}, {list(self.form.shape)})"

    def _whole(self) -> ir.TensorProtocol:
        return ir.Tensor(self.bundle.arrays()[self.bundle.tensors.index(self)], name=self.name)


def spans(rows: int, values_per_row: int) -> Iterator[slice]:
    """Slices over `rows` that hold about PIECE_VALUES values each; one if there are no rows."""
    step = max(1, PIECE_VALUES // max(1, values_per_row))
    return (slice(start, min(start + step, rows)) for start in range(0, max(1, rows), step))


def converted(values: Array, dtype: np.dtype[Any]) -> Iterator[Array]:
    """`values`, piece by piece as `dtype`."""
    flat = values.reshape(-1)
    return (flat[span].astype(dtype, copy=False) for span in spans(flat.size, 1))


def turned(values: Array, dtype: np.dtype[Any]) -> Iterator[Array]:
    """The transpose of values [rows, columns], piece by piece as `dtype`."""
    rows, columns = values.shape
    for span in spans(columns, rows):
        piece = np.empty((span.stop - span.start, rows), dtype)
        for start in range(0, rows, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            piece[:, block] = values[block, span].astype(dtype, copy=False).T
        yield piece
