"""A linear layer, with a bias or without."""

from __future__ import annotations

import onnx_ir as ir

from triptych.export.builder import GraphBuilder
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Storage


def linear(
    graph: GraphBuilder,
    storage: Storage,
    x: ir.Value,
    weights: Weights,
    inputs: int,
    outputs: int,
    *,
    biased: bool,
) -> ir.Value:
    """X [..., inputs] times the transpose of `weight`, plus `bias`: [..., outputs]."""
    product = storage.linear(graph, x, weights.get("weight", outputs, inputs))
    if not biased:
        return product
    return graph.op("Add", product, storage.tensor(graph, weights.get("bias", outputs)))
