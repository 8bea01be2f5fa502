"""Weights stored as blocks of small integers, and the operators that read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from triptych.core.ports import Array
from triptych.export.builder import FLOAT, FLOAT16, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.precision.blocks import Blocks
from triptych.export.precision.floats import Float
from triptych.export.precision.sources import BlockSource
from triptych.export.precision.storage import Rows
from triptych.export.tensors import Form

UINT8 = ir.DataType.UINT8

# What a graph calls the tensors of a weight, after the weight's own name.
CODES, SCALES, ZEROS = ".codes", ".scales", ".zeros"


class BlockStorage:
    """A matrix as blocks: `MatMulNBits` multiplies by it, `GatherBlockQuantized` looks rows up.

    source: the blocks of that weight. accuracy_level: what the products are computed in, see
    docs/reference.md. Norms and biases stay float32, tables that are not looked up fp16.
    """

    def __init__(self, source: BlockSource, accuracy_level: int) -> None:
        self.source, self.level = source, accuracy_level

    def linear(self, graph: GraphBuilder, x: ir.Value, weight: Weight) -> ir.Value:
        """A MatMulNBits."""
        return self._product(graph, x, weight, shared=False)

    def scores(self, graph: GraphBuilder, x: ir.Value, table: Weight) -> ir.Value:
        """A MatMulNBits, which reads the very bytes that `rows` does."""
        return self._product(graph, x, table, shared=True)

    def rows(self, graph: GraphBuilder, table: Weight, index: ir.Value) -> ir.Value:
        """A GatherBlockQuantized; what the last block of a row was filled up with is cut off."""
        source = self.source
        form, columns = source.format, table.shape[1]
        found = graph.microsoft(
            "GatherBlockQuantized",
            *_stored(graph, table.name, table.shape, source, flat=True, shared=True, between=index),
            bits=form.bits,
            block_size=form.size,
            gather_axis=0,
            quantize_axis=1,
        )
        if columns == form.blocks(columns) * form.size:
            return found
        ends = graph.constant([0]), graph.constant([columns]), graph.constant([-1])
        return graph.op("Slice", found, *ends)

    def float_rows(self, graph: GraphBuilder, table: Weight) -> Rows:
        """Rows of fp16, cast when they are found."""
        return TABLE.float_rows(graph, table)

    def tensor(self, graph: GraphBuilder, weight: Weight) -> ir.Value:
        """A float."""
        return TABLE.tensor(graph, weight) if len(weight.shape) > 1 else FINE.tensor(graph, weight)

    def _product(
        self, graph: GraphBuilder, x: ir.Value, weight: Weight, *, shared: bool
    ) -> ir.Value:
        return blocks_product(
            graph, x, weight.name, weight.shape, self.source, self.level, shared=shared
        )


def blocks_product(  # what one operator has
    graph: GraphBuilder,
    x: ir.Value,
    name: str,
    shape: Sequence[int],
    source: BlockSource,
    level: int,
    *,
    shared: bool = False,
) -> ir.Value:
    """X [..., K] times the transpose of a weight of that name and shape [N, K]: [..., N].

    shared: whether another graph may hold the same weight.
    """
    rows, columns = shape
    return graph.microsoft(
        "MatMulNBits",
        x,
        *_stored(graph, name, shape, source, shared=shared),
        K=columns,
        N=rows,
        bits=source.format.bits,
        block_size=source.format.size,
        accuracy_level=level,
    )


FINE, TABLE = Float("fp32", FLOAT), Float("fp16", FLOAT16)


def _stored(  # one keyword per choice
    graph: GraphBuilder,
    name: str,
    shape: Sequence[int],
    source: BlockSource,
    *,
    flat: bool = False,
    shared: bool = False,
    between: ir.Value | None = None,
) -> list[ir.Value]:
    """The codes, scales and zeros of a weight of that name and shape [N, K].

    flat: codes are [N, bytes per row], not [N, blocks, bytes per block]. shared: another graph may
    hold the same. between: an input that goes after the codes.
    """
    form, (rows, columns) = source.format, shape
    blocks, size = form.blocks(columns), form.block_bytes()
    forms = [
        Form(name + CODES, (rows, blocks * size) if flat else (rows, blocks, size), UINT8),
        Form(name + SCALES, (rows, blocks), FLOAT),
    ]
    if not form.symmetric:
        forms.append(Form(name + ZEROS, (rows, form.zero_bytes(columns)), UINT8))
    kind = "symmetric" if form.symmetric else "asymmetric"
    key = f"{name} as {form.bits} bits in {kind} blocks of {form.size} by {source.method}"
    codes, *rest = graph.bundle(forms, lambda: _pieces(source), shared=key if shared else None)
    return [codes, *([] if between is None else [between]), *rest]


def _pieces(source: BlockSource) -> Iterator[Sequence[Array]]:
    return map(arrays, source.pieces())


def arrays(blocks: Blocks) -> Sequence[Array]:
    """Codes, scales and, if any, zeros as they are stored."""
    zeros = blocks.packed_zeros()
    return [blocks.packed(), blocks.scales, *([] if zeros is None else [zeros])]
