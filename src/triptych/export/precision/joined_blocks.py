"""Several matrices that multiply the same x, stored under one another and read by one operator.

Each product is a call of all threads, who wait for one another at its end: in decoding, where a
product takes some 30 microseconds, fewer and larger ones are faster. Rows of a weight do not
depend on one another, so what is computed stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

import onnx_ir as ir

from triptych.export.builder import GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.precision.block_storage import CODES, BlockStorage, blocks_product
from triptych.export.precision.blocks import Blocks
from triptych.export.precision.sources import BlockSource

JOIN = "|"
"""Stands between the names of joined weights; together they are the name of all."""


class _Joined:
    """The blocks of all sources, which have one format and the same columns."""

    def __init__(self, sources: Sequence[BlockSource]) -> None:
        self._sources = sources
        self.format, self.method = sources[0].format, sources[0].method

    def pieces(self) -> Iterator[Blocks]:
        return chain.from_iterable(source.pieces() for source in self._sources)


def joined_linears(
    graph: GraphBuilder, x: ir.Value, weights: Sequence[tuple[Weight, BlockStorage]]
) -> dict[str, ir.Value]:
    """The products of x [..., in] with weights [out, in], by name: one MatMulNBits and a Split.

    The storages have one format and one accuracy level.
    """
    first, storage = weights[0]
    if len(weights) == 1:
        return {first.name: storage.linear(graph, x, first)}
    names = [weight.name for weight, _ in weights]
    rows = [weight.shape[0] for weight, _ in weights]
    product = blocks_product(
        graph,
        x,
        JOIN.join(names),
        (sum(rows), first.shape[1]),
        _Joined([each.source for _, each in weights]),
        storage.level,
    )
    parts = graph.ops("Split", product, graph.constant(rows), outputs=len(rows), axis=-1)
    return dict(zip(names, parts, strict=True))


def joined_rows(name: str, codes: ir.Value) -> dict[str, slice]:
    """Which rows of joined codes belong to which weight; of codes of one weight, all to it."""
    names = name.removesuffix(CODES).split(JOIN)
    if len(names) == 1:
        return {names[0]: slice(None)}
    product = next(iter(codes.uses())).node
    split = next(iter(product.outputs[0].uses())).node
    sizes = split.inputs[1]
    if sizes is None or sizes.const_value is None:
        raise ValueError(f"{name}: the rows of each weight are not told")
    ends = list(accumulate(sizes.const_value.numpy().tolist(), initial=0))
    return {
        one: slice(start, end) for one, start, end in zip(names, ends[:-1], ends[1:], strict=True)
    }
