"""The part of a decoder layer after attention."""

from __future__ import annotations

from typing import Protocol

import onnx_ir as ir

from triptych.export.builder import GraphBuilder
from triptych.export.graphs.linear import linear, linears
from triptych.export.graphs.shape import DecoderShape
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Precision


class FeedForward(Protocol):
    """Builds the feed-forward part of each layer."""

    def __call__(
        self, graph: GraphBuilder, normed: ir.Value, weights: Weights, layer: int
    ) -> ir.Value:
        """f32 [B, S, hidden] of the same. `weights`: those below the layer's `mlp`."""
        ...


class SwiGLU:
    """down(silu(gate(x)) * up(x)) (arXiv 2002.05202)."""

    def __init__(self, shape: DecoderShape, precision: Precision) -> None:
        self._shape, self._storage = shape, precision.part("mlp")

    def __call__(
        self, graph: GraphBuilder, normed: ir.Value, weights: Weights, layer: int
    ) -> ir.Value:
        """The same for all layers."""
        del layer
        narrow, wide, biased = self._shape.hidden, self._shape.intermediate, self._shape.mlp_bias
        storage = self._storage
        both = {"gate_proj": wide, "up_proj": wide}
        gate, up = linears(graph, storage, normed, weights, narrow, both, biased=biased)
        active = graph.op("Mul", graph.op("Mul", gate, graph.op("Sigmoid", gate)), up)
        return linear(
            graph, storage, active, weights.under("down_proj"), wide, narrow, biased=biased
        )
