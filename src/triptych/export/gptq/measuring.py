"""A precision whose decoder can be fed its weights: what GPTQ runs, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from triptych.core.ports import Array
from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.experts import Experts
from triptych.export.precision import Part, Recipe, RecipePrecision, Rows, Storage
from triptych.export.precision.blocks import BlockFormat
from triptych.export.precision.recipe import GPTQ


@dataclass(frozen=True, eq=False)
class Linear:
    """A product that GPTQ is asked for. x: its left side. format: of its blocks."""

    weight: Weight
    x: ir.Value
    format: BlockFormat


class MeasuringPrecision:
    """Stores weights as a recipe says, and makes those that it asks GPTQ for inputs of the graph.

    Such an input has the weight's name and is f32 [out, in]. linears: those that were built, in
    order, by the weight's name.
    """

    def __init__(self, name: str, recipe: Recipe) -> None:
        self._stored = RecipePrecision(name, recipe)
        self._recipe = recipe
        self.name, self.tolerance = name, self._stored.tolerance
        self.linears: dict[str, Linear] = {}

    def part(self, part: Part) -> Storage:
        """What stores the weights of a part."""
        return _Measuring(self._stored.part(part), part, self._recipe, self.linears)

    def rounded(self, name: str, values: Array) -> Array:
        """As the recipe has it."""
        return self._stored.rounded(name, values)


class _Measuring:
    def __init__(
        self, stored: Storage, part: Part, recipe: Recipe, linears: dict[str, Linear]
    ) -> None:
        self._stored, self._part, self._recipe, self._linears = stored, part, recipe, linears

    def linear(self, graph: GraphBuilder, x: ir.Value, weight: Weight) -> ir.Value:
        scheme = self._recipe.scheme(self._part, weight.name)
        if scheme.method != GPTQ or weight.packed is not None:
            return self._stored.linear(graph, x, weight)
        self._linears[weight.name] = Linear(weight, x, scheme.format)
        fed = graph.input(weight.name, FLOAT, weight.shape)
        return graph.microsoft("FusedMatMul", x, fed, transB=1)

    def linears(
        self, graph: GraphBuilder, x: ir.Value, weights: Sequence[Weight]
    ) -> Sequence[ir.Value]:
        return [self.linear(graph, x, weight) for weight in weights]

    def rows(self, graph: GraphBuilder, table: Weight, index: ir.Value) -> ir.Value:
        return self._stored.rows(graph, table, index)

    def float_rows(self, graph: GraphBuilder, table: Weight) -> Rows:
        return self._stored.float_rows(graph, table)

    def scores(self, graph: GraphBuilder, x: ir.Value, table: Weight) -> ir.Value:
        return self._stored.scores(graph, x, table)

    def tensor(self, graph: GraphBuilder, weight: Weight) -> ir.Value:
        return self._stored.tensor(graph, weight)

    def experts(
        self, graph: GraphBuilder, x: ir.Value, scores: ir.Value, experts: Experts
    ) -> ir.Value:
        return self._stored.experts(graph, x, scores, experts)
