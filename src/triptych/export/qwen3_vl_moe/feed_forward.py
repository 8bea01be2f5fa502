"""The feed-forward part of a layer with experts (Qwen3 report, arXiv 2505.09388, section 2)."""

from __future__ import annotations

import onnx_ir as ir

from triptych.export.builder import GraphBuilder
from triptych.export.graphs.feed_forward import SwiGLU
from triptych.export.graphs.shape import DecoderShape
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Precision
from triptych.export.qwen3_vl_moe.config import SparseConfig
from triptych.export.qwen3_vl_moe.experts import read_experts


class SparseFeedForward:
    """A router sends each token to a few experts; what those say is added up by its weights.

    The weights are the softmax of the chosen experts' scores. Layers without experts are SwiGLU.
    """

    def __init__(self, shape: DecoderShape, sparse: SparseConfig, precision: Precision) -> None:
        self._dense = SwiGLU(shape, precision)
        self._storage = precision.part("mlp")
        self._hidden, self._sparse = shape.hidden, sparse

    def __call__(
        self, graph: GraphBuilder, normed: ir.Value, weights: Weights, layer: int
    ) -> ir.Value:
        """f32 [B, S, hidden] of the same."""
        sparse, hidden = self._sparse, self._hidden
        if not sparse.sparse[layer]:
            return self._dense(graph, normed, weights, layer)
        router = weights.get("gate.weight", sparse.experts, hidden)
        scores = self._storage.linear(graph, normed, router)
        experts = read_experts(
            weights.under("experts"),
            experts=sparse.experts,
            chosen=sparse.chosen,
            hidden=hidden,
            inner=sparse.inner,
        )
        return self._storage.experts(graph, normed, scores, experts)
