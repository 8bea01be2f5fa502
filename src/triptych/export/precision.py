"""How weights are stored: the one place where a tensor of a checkpoint becomes graph constants.

A graph asks its Precision for "multiply by this weight" or "look these rows up", so that another
precision (quantized blocks, say) changes no graph code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import onnx_ir as ir

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.builder import FLOAT, FLOAT16, GraphBuilder
from triptych.export.checkpoint import Weight

FP16_MAX = float(np.finfo(np.float16).max)


class PrecisionError(TriptychError):
    """A precision that is not known."""


class Precision(Protocol):
    """Stores weights; everything is computed in float32.

    name: what `--precision` calls it.
    tolerance: the largest error against the checkpoint (as `rounded` leaves it), relative to the
    largest value of the compared tensor, that counts as equal.
    """

    name: str
    tolerance: float

    def linear(self, graph: GraphBuilder, x: ir.Value, weight: Weight) -> ir.Value:
        """Multiplies x [..., in] by the transpose of weight [out, in]: [..., out]."""
        ...

    def rows(self, graph: GraphBuilder, table: Weight, index: ir.Value) -> ir.Value:
        """The rows of table [rows, width] at index i64 [...]: f32 [..., width]."""
        ...

    def scores(self, graph: GraphBuilder, x: ir.Value, table: Weight) -> ir.Value:
        """The products of x [..., width] with each row of table [rows, width]: [..., rows].

        The table is stored as `rows` stores it, so that two graphs can share one.
        """
        ...

    def tensor(self, graph: GraphBuilder, weight: Weight) -> ir.Value:
        """The weight itself as f32, for norms and biases."""
        ...

    def rounded(self, values: Array) -> Array:
        """What a graph computes with in place of `values`, as float32."""
        ...


class Float:
    """Weights stored in one floating-point type and cast to float32 when the graph is loaded.

    Stored as fp16, a weight with a value that fp16 cannot hold stays fp32.
    """

    # fp32 sums of thousands of products, in another order than torch's.
    tolerance = 1e-4

    def __init__(self, name: str, stored: ir.DataType) -> None:
        self.name = name
        self._stored = stored

    def linear(self, graph: GraphBuilder, x: ir.Value, weight: Weight) -> ir.Value:
        """A MatMul; the weight is stored transposed, as that wants it."""
        return graph.op("MatMul", x, self._cast(graph, self._store(graph, weight, transposed=True)))

    def rows(self, graph: GraphBuilder, table: Weight, index: ir.Value) -> ir.Value:
        """A Gather, then the cast: the table in memory stays as small as the one on disk."""
        return self._cast(graph, graph.op("Gather", self._store(graph, table), index, axis=0))

    def scores(self, graph: GraphBuilder, x: ir.Value, table: Weight) -> ir.Value:
        """A FusedMatMul, which takes the second factor as it is in the checkpoint."""
        stored = self._cast(graph, self._store(graph, table))
        return graph.microsoft("FusedMatMul", x, stored, transB=1)

    def tensor(self, graph: GraphBuilder, weight: Weight) -> ir.Value:
        """The weight, cast if it is stored as fp16."""
        return self._cast(graph, self._store(graph, weight))

    def rounded(self, values: Array) -> Array:
        """The values as fp16 holds them, unless one overflows."""
        kept = values.astype(np.float32)
        if self._stored == FLOAT or _overflows(kept):
            return kept
        return kept.astype(np.float16).astype(np.float32)

    def _store(self, graph: GraphBuilder, weight: Weight, *, transposed: bool = False) -> ir.Value:
        stored = self._stored
        if stored == FLOAT16 and _overflows(weight.read()):
            stored = FLOAT
        dtype = stored.numpy()
        shape = tuple(reversed(weight.shape)) if transposed else weight.shape

        def read() -> Array:
            values = weight.read()
            return (values.T if transposed else values).astype(dtype, order="C")

        return graph.weight(weight.name, shape, stored, read)

    def _cast(self, graph: GraphBuilder, value: ir.Value) -> ir.Value:
        return value if self._stored == FLOAT else graph.op("Cast", value, to=FLOAT)


def _overflows(values: Array) -> bool:
    """Whether a finite value lies beyond fp16's largest."""
    if values.size == 0 or values.dtype == np.float16:
        return False
    return float(np.abs(values).max()) > FP16_MAX


PRECISIONS: Mapping[str, Precision] = {
    "fp32": Float("fp32", FLOAT),
    "fp16": Float("fp16", FLOAT16),
}


def precision_named(name: str) -> Precision:
    """The precision of that name. Raises PrecisionError, which lists the known ones."""
    try:
        return PRECISIONS[name]
    except KeyError:
        raise PrecisionError(f"No precision {name!r}; there is {', '.join(PRECISIONS)}.") from None
