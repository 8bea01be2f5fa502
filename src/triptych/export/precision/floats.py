"""Weights stored as they are, in one floating-point type."""

from __future__ import annotations

from typing import Self

import numpy as np
import onnx_ir as ir

from triptych.core.ports import Array
from triptych.export.builder import FLOAT, FLOAT16, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.precision.storage import Part

FP16_MAX = float(np.finfo(np.float16).max)


class Float:
    """Weights stored in one floating-point type and cast to float32 when the graph is loaded.

    Stored as fp16, a weight with a value that fp16 cannot hold stays fp32.
    """

    # fp32 sums of thousands of products, in another order than torch's.
    tolerance = 1e-4

    def __init__(self, name: str, stored: ir.DataType) -> None:
        self.name = name
        self._stored = stored

    def part(self, part: Part) -> Self:
        """Itself: all parts are stored alike."""
        del part
        return self

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

    def rounded(self, name: str, values: Array) -> Array:
        """The values as fp16 holds them, unless one overflows."""
        del name
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
