"""What a graph asks of a precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import onnx_ir as ir

from triptych.core.ports import Array
from triptych.export.builder import GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.experts import Experts

Part = Literal["vision", "embeddings", "attention", "mlp", "head"]
"""The parts of a model that may be stored differently. Norms belong to the part they feed."""

Rows = Callable[[ir.Value], ir.Value]
"""Makes rows f32 [..., width] of an index i64 [...], as often as it is called."""


class Storage(Protocol):
    """Stores the weights of one part; everything is computed in float32."""

    def linear(self, graph: GraphBuilder, x: ir.Value, weight: Weight) -> ir.Value:
        """Multiplies x [..., in] by the transpose of weight [out, in]: [..., out]."""
        ...

    def linears(
        self, graph: GraphBuilder, x: ir.Value, weights: Sequence[Weight]
    ) -> Sequence[ir.Value]:
        """The same for each of several weights, by fewer operators where that is faster."""
        ...

    def rows(self, graph: GraphBuilder, table: Weight, index: ir.Value) -> ir.Value:
        """The rows of table [rows, width] at index i64 [...]: f32 [..., width]."""
        ...

    def float_rows(self, graph: GraphBuilder, table: Weight) -> Rows:
        """What finds rows in a table of one graph that stays floats, as of positions."""
        ...

    def scores(self, graph: GraphBuilder, x: ir.Value, table: Weight) -> ir.Value:
        """The products of x [..., width] with each row of table [rows, width]: [..., rows].

        The table is stored as `rows` stores it, so that two graphs can share one.
        """
        ...

    def experts(
        self, graph: GraphBuilder, x: ir.Value, scores: ir.Value, experts: Experts
    ) -> ir.Value:
        """What the chosen experts make of x f32 [..., hidden], added up: [..., hidden].

        scores: f32 [..., experts], of which the softmax over the chosen ones says how much each
        counts.
        """
        ...

    def tensor(self, graph: GraphBuilder, weight: Weight) -> ir.Value:
        """The weight itself as f32, for norms and biases."""
        ...


class Precision(Protocol):
    """How the weights of a whole model are stored.

    name: what `--precision` calls it.
    tolerance: the largest error against the checkpoint (as `rounded` leaves it), relative to the
    largest value of the compared tensor, that counts as equal.
    """

    name: str
    tolerance: float

    def part(self, part: Part) -> Storage:
        """What stores the weights of a part."""
        ...

    def rounded(self, name: str, values: Array) -> Array:
        """What a graph computes with in place of the checkpoint's tensor `name`, as float32."""
        ...
