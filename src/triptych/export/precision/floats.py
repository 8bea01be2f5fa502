"""Weights stored as they are, in one floating-point type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Self

import ml_dtypes
import numpy as np
import onnx_ir as ir

from triptych.core.ports import Array
from triptych.export.builder import FLOAT, FLOAT16, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.experts import Experts, Stack
from triptych.export.precision.routed import routed
from triptych.export.precision.storage import Part, Rows
from triptych.export.tensors import converted, spans, turned

FP16_MAX = float(np.finfo(np.float16).max)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


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

    def linears(
        self, graph: GraphBuilder, x: ir.Value, weights: Sequence[Weight]
    ) -> Sequence[ir.Value]:
        """A MatMul each: what these take is the reading of the weights."""
        return [self.linear(graph, x, weight) for weight in weights]

    def rows(self, graph: GraphBuilder, table: Weight, index: ir.Value) -> ir.Value:
        """A Gather, then the cast: the table in memory stays as small as the one on disk."""
        return self._found(graph, self._store(graph, table, shared=True), index)

    def float_rows(self, graph: GraphBuilder, table: Weight) -> Rows:
        """As `rows`. Of a table that is cast first, ONNX Runtime keeps all rows as float32."""
        stored = self._store(graph, table)
        return lambda index: self._found(graph, stored, index)

    def scores(self, graph: GraphBuilder, x: ir.Value, table: Weight) -> ir.Value:
        """A FusedMatMul, which takes the second factor as it is in the checkpoint."""
        stored = self._cast(graph, self._store(graph, table, shared=True))
        return graph.microsoft("FusedMatMul", x, stored, transB=1)

    def experts(
        self, graph: GraphBuilder, x: ir.Value, scores: ir.Value, experts: Experts
    ) -> ir.Value:
        """A MoE. Stored as fp32, only the experts that are chosen get into memory."""
        both, down = (
            self._cast(graph, self._stack(graph, stack))
            for stack in (experts.gate_up, experts.down)
        )
        count, chosen = experts.gate_up.shape[0], experts.chosen
        weights = both, None, down
        return routed(graph, "MoE", x, scores, *weights, experts=count, chosen=chosen)

    def tensor(self, graph: GraphBuilder, weight: Weight) -> ir.Value:
        """The weight, cast if it is stored as fp16."""
        return self._cast(graph, self._store(graph, weight))

    def rounded(self, name: str, values: Array) -> Array:
        """The values as fp16 holds them, unless one overflows."""
        del name
        kept = values.astype(np.float32)
        if self._stored == FLOAT or overflows(kept):
            return kept
        return kept.astype(np.float16).astype(np.float32)

    def _store(
        self,
        graph: GraphBuilder,
        weight: Weight,
        *,
        transposed: bool = False,
        shared: bool = False,
    ) -> ir.Value:
        @cache
        def dtype() -> ir.DataType:
            wide = self._stored == FLOAT16 and overflows(weight.read())
            return FLOAT if wide else self._stored

        def pieces() -> Iterator[Array]:
            write = turned if transposed else converted
            return write(weight.read(), dtype().numpy())

        return graph.weight(
            weight.name,
            tuple(reversed(weight.shape)) if transposed else weight.shape,
            self._stored,
            pieces,
            shared=f"{weight.name} as {self.name}" if shared else None,
            settle=dtype if self._stored == FLOAT16 else None,
        )

    def _stack(self, graph: GraphBuilder, stack: Stack) -> ir.Value:
        """The matrices of all experts; no more than one of them is read at a time."""

        @cache
        def dtype() -> ir.DataType:
            wide = self._stored == FLOAT16 and any(
                overflows(matrix.read()) for matrix in stack.matrices
            )
            return FLOAT if wide else self._stored

        def pieces() -> Iterator[Array]:
            for matrix in stack.matrices:
                yield from converted(matrix.read(), dtype().numpy())

        settle = dtype if self._stored == FLOAT16 else None
        return graph.weight(stack.name, stack.shape, self._stored, pieces, settle=settle)

    def _found(self, graph: GraphBuilder, stored: ir.Value, index: ir.Value) -> ir.Value:
        return self._cast(graph, graph.op("Gather", stored, index, axis=0))

    def _cast(self, graph: GraphBuilder, value: ir.Value) -> ir.Value:
        return value if self._stored == FLOAT else graph.op("Cast", value, to=FLOAT)


def overflows(values: Array) -> bool:
    """Whether a value lies beyond fp16's largest."""
    if values.dtype == np.float16:
        return False
    flat = values.reshape(-1)
    return any(_magnitude(flat[span]) > FP16_MAX for span in spans(flat.size, 1))


def _magnitude(values: Array) -> float:
    """The largest absolute value, 0 of none."""
    if values.dtype == BFLOAT16:
        # Without their signs, floats are in the order of their bits, which numpy compares faster.
        bits = values.view(np.uint16) & 0x7FFF
        return float(bits.max(initial=0).view(BFLOAT16))
    return float(np.abs(values).max(initial=0))
