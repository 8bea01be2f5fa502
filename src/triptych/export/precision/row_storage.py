"""Weights as 8-bit rows, multiplied in whole numbers: the fastest form for many tokens at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from triptych.core.ports import Array
from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.precision.block_storage import CODES, SCALES, ZEROS, BlockStorage
from triptych.export.precision.spreading import spread, spreading
from triptych.export.tensors import Form, spans

INT8 = ir.DataType.INT8

OPERATOR = "MatMulIntegerToFloat"
"""What multiplies by such a weight: codes i8 [in, out] its second input, scales the fourth."""
LARGEST = 127
"""The largest code of a weight and of a token: the range is the same on both sides of zero."""
MIDDLE = 128
"""The code of zero of a token. Unsigned times signed is what processors have instructions for."""
# Below it a row counts as zeros; its reciprocal is still a float.
SMALLEST = 1e-30


@dataclass(frozen=True)
class Tokens:
    """An x, spread and rounded: codes u8 [..., in], the scale of each row f32 [..., 1]."""

    codes: ir.Value
    scales: ir.Value


def row_linear(graph: GraphBuilder, x: ir.Value, weight: Weight) -> ir.Value:
    """X f32 [..., in] times the transpose of weight [out, in], in whole numbers: f32 [..., out].

    Each row of the weight has one scale, and so has each row of x, found when the graph runs; both
    are spread first, see `spreading`. A token's result depends on that token alone, to the bit:
    neither on the pictures that share a call nor on how many there are, since sums of whole
    numbers are exact.
    """

    def opened() -> Callable[[slice], Array]:
        stored = weight.read()
        return lambda span: stored[span].astype(np.float32)

    tokens = rounded_tokens(graph, x, weight.shape[1])
    return rows_product(graph, tokens, stored_rows(graph, weight.name, weight.shape, opened))


def rounded_tokens(
    graph: GraphBuilder, x: ir.Value, columns: int, *, axes: int | None = None
) -> Tokens:
    """The left side of a product with rows of so many values.

    axes: how many x has, where that is known; ONNX Runtime then knows all shapes that follow, and
    lets tensors share memory.
    """
    x = _spread(graph, x, columns, axes)
    last = graph.constant([-1])
    # Two passes that only read take less time than one that writes magnitudes and one that reads.
    least, most = (graph.op(kind, x, last, keepdims=1) for kind in ("ReduceMin", "ReduceMax"))
    most = graph.op("Max", most, graph.op("Neg", least), graph.constant(SMALLEST, np.float32))
    scales = graph.op("Mul", most, graph.constant(1 / LARGEST, np.float32))
    middles = graph.op("Expand", graph.constant(MIDDLE, np.uint8), graph.op("Shape", scales))
    # One block is all of a row, whatever axes stand before it.
    codes = graph.op("QuantizeLinear", x, scales, middles, axis=-1, block_size=columns)
    return Tokens(codes, scales)


def rows_product(graph: GraphBuilder, tokens: Tokens, rows: Sequence[ir.Value]) -> ir.Value:
    """Tokens times the transpose of what `stored_rows` gave: f32 [..., out]."""
    codes, scales, zero = rows
    one, middle = graph.constant(1, np.float32), graph.constant(MIDDLE, np.uint8)
    product = graph.microsoft(OPERATOR, tokens.codes, codes, one, scales, middle, zero)
    return graph.op("Mul", product, tokens.scales)


def _spread(graph: GraphBuilder, x: ir.Value, columns: int, axes: int | None) -> ir.Value:
    rotation = spreading(columns)
    if len(rotation) == 1:
        return x
    same = [0] * (axes - 1) if axes else []
    groups = graph.op("Reshape", x, graph.constant([*same, -1, len(rotation)]))
    turned = graph.op("MatMul", groups, graph.constant(rotation, np.float32))
    whole = graph.constant([*same, columns]) if axes else graph.op("Shape", x)
    return graph.op("Reshape", turned, whole)


def row_codes(rows: Array) -> tuple[Array, Array]:
    """The codes i8 [n, K] and the scales f32 [n] of rows f32 [n, K], rounded to nearest."""
    largest = np.abs(rows).max(axis=1, initial=0.0)
    scales = np.where(largest < SMALLEST, np.float32(1), largest / np.float32(LARGEST))
    codes = np.rint(rows / scales[:, None])
    return codes.astype(np.int8), scales.astype(np.float32)


def stored_rows(
    graph: GraphBuilder,
    name: str,
    shape: tuple[int, ...],
    opened: Callable[[], Callable[[slice], Array]],
) -> list[ir.Value]:
    """The codes of a weight [out, in], transposed, the scales, and the code of zero.

    That is written out, for each weight anew, for processors without instructions for such
    products: there ONNX Runtime makes codes and zeros unsigned, whose sums do not overflow.
    opened: called when the weight is written; gives what reads some of its rows, as float32.
    """
    rows, columns = shape

    def pieces() -> Iterator[Sequence[Array]]:
        """Both whole: the transpose needs all rows, and bytes are a quarter of the weight."""
        read = opened()
        codes = np.empty((columns, rows), np.int8)
        scales = np.empty(rows, np.float32)
        for span in spans(rows, columns):
            found, scales[span] = row_codes(spread(read(span)))
            codes[:, span] = found.T
        yield codes, scales, np.zeros((), np.int8)

    forms = [
        Form(name + CODES, (columns, rows), INT8),
        Form(name + SCALES, (rows,), FLOAT),
        Form(name + ZEROS, (), INT8),
    ]
    return graph.bundle(forms, pieces)


class RowStorage(BlockStorage):
    """A matrix as rows for products; tables that are looked up, and experts, have blocks."""

    def linear(self, graph: GraphBuilder, x: ir.Value, weight: Weight) -> ir.Value:
        """A MatMulIntegerToFloat; see `row_linear`."""
        return row_linear(graph, x, weight)
