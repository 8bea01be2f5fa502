"""A precision that a recipe describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.builder import FLOAT, FLOAT16, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.experts import Experts
from triptych.export.precision.block_experts import ExpertsError, block_experts
from triptych.export.precision.block_storage import BlockStorage
from triptych.export.precision.blocks import BlockFormat
from triptych.export.precision.floats import Float
from triptych.export.precision.joined_blocks import joined_linears
from triptych.export.precision.recipe import GPTQ, ROUTERS, Recipe
from triptych.export.precision.row_storage import RowStorage
from triptych.export.precision.sources import BlockSource, Quantized
from triptych.export.precision.storage import Part, Rows, Storage

FLOATS: Mapping[str, Float] = {"fp32": Float("fp32", FLOAT), "fp16": Float("fp16", FLOAT16)}

# fp32 sums of thousands of products, in another order than torch's.
FLOAT_TOLERANCE = 1e-4
# Products below float32 round their left side to int8, layer after layer.
BLOCK_TOLERANCE = 0.05


class UncalibratedError(TriptychError):
    """A weight that a recipe wants calibrated, and that nobody calibrated."""


class RecipePrecision:
    """Stores each weight as a recipe says.

    name: what `--precision` calls it, or the name of the recipe's file. given: blocks that were
    made elsewhere, by the weight's name; they are stored as they are wherever the recipe wants
    whole numbers.
    """

    def __init__(
        self, name: str, recipe: Recipe, *, given: Mapping[str, BlockSource] | None = None
    ) -> None:
        self.name, self.recipe = name, recipe
        self.tolerance = BLOCK_TOLERANCE if recipe.rounds_products else FLOAT_TOLERANCE
        self._given = given or {}

    def part(self, part: Part) -> Storage:
        """What stores the weights of a part, each by its own scheme."""
        return _PartStorage(self.recipe, part, self._given)

    def rounded(self, name: str, values: Array) -> Array:
        """What a graph computes with, where all weights are of one float type.

        Raises TypeError for other recipes: `stored_weights` reads it from the graphs instead.
        """
        if fnmatchcase(name, ROUTERS):
            return values.astype(np.float32)
        precision, *others = self.recipe.precisions
        if others or precision not in FLOATS:
            raise TypeError(f"{self.name} does not store all weights alike: use stored_weights")
        return FLOATS[precision].rounded(name, values)


class _PartStorage:
    """Finds the storage of each weight by its name."""

    def __init__(self, recipe: Recipe, part: Part, given: Mapping[str, BlockSource]) -> None:
        self._recipe, self._part, self._given = recipe, part, given

    def linear(self, graph: GraphBuilder, x: ir.Value, weight: Weight) -> ir.Value:
        return self.linears(graph, x, [weight])[0]

    def linears(
        self, graph: GraphBuilder, x: ir.Value, weights: Sequence[Weight]
    ) -> Sequence[ir.Value]:
        """Weights in blocks of one format are one product."""
        found: dict[str, ir.Value] = {}
        joined: dict[tuple[BlockFormat, int], list[tuple[Weight, BlockStorage]]] = {}
        for weight in weights:
            self._require_calibrated(weight)
            storage = self._storage(weight)
            if isinstance(storage, BlockStorage) and not isinstance(storage, RowStorage):
                form = storage.source.format, storage.level
                joined.setdefault(form, []).append((weight, storage))
            else:
                found[weight.name] = storage.linear(graph, x, weight)
        for alike in joined.values():
            found |= joined_linears(graph, x, alike)
        return [found[weight.name] for weight in weights]

    def _require_calibrated(self, weight: Weight) -> None:
        calibrated = weight.name in self._given or weight.packed is not None
        if self._recipe.scheme(self._part, weight.name).method == GPTQ and not calibrated:
            raise UncalibratedError(
                f"{weight.name}: the recipe asks for gptq, which finds blocks on prompts, and none "
                f"were found. export_checkpoint finds them."
            )

    def rows(self, graph: GraphBuilder, table: Weight, index: ir.Value) -> ir.Value:
        return self._storage(table).rows(graph, table, index)

    def float_rows(self, graph: GraphBuilder, table: Weight) -> Rows:
        return self._storage(table).float_rows(graph, table)

    def scores(self, graph: GraphBuilder, x: ir.Value, table: Weight) -> ir.Value:
        return self._storage(table).scores(graph, x, table)

    def tensor(self, graph: GraphBuilder, weight: Weight) -> ir.Value:
        return self._storage(weight).tensor(graph, weight)

    def experts(
        self, graph: GraphBuilder, x: ir.Value, scores: ir.Value, experts: Experts
    ) -> ir.Value:
        names = experts.gate_up.name, experts.down.name
        scheme, other = (self._recipe.scheme(self._part, name) for name in names)
        if scheme != other:
            raise ExpertsError(
                f"{names[0]} and {names[1]}: one operator holds both, so a recipe has to say the "
                f"same of both, as with '*.mlp.experts.*' under weights."
            )
        if scheme.precision in FLOATS:
            return FLOATS[scheme.precision].experts(graph, x, scores, experts)

        def blocked(weight: Weight) -> BlockSource:
            # No one prompt meets all experts often enough to calibrate them.
            method = "hqq" if scheme.method == GPTQ else scheme.method
            return Quantized(weight, scheme.format, method)

        level = scheme.accuracy_level
        return block_experts(graph, x, scores, experts, blocked, scheme.format, level)

    def _storage(self, weight: Weight) -> Float | BlockStorage:
        scheme = self._recipe.scheme(self._part, weight.name)
        if scheme.precision in FLOATS:
            return FLOATS[scheme.precision]
        known = self._given.get(weight.name) or weight.packed
        source = known or Quantized(weight, scheme.format, scheme.method)
        stored = RowStorage if scheme.in_rows and known is None else BlockStorage
        return stored(source, scheme.accuracy_level)
