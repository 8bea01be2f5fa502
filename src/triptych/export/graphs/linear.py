"""Linear layers, with a bias or without."""

from __future__ import annotations

from collections.abc import Mapping

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
    return _biased(graph, storage, product, weights, outputs) if biased else product


def linears(
    graph: GraphBuilder,
    storage: Storage,
    x: ir.Value,
    weights: Weights,
    inputs: int,
    outputs: Mapping[str, int],
    *,
    biased: bool,
) -> list[ir.Value]:
    """The same for several layers that read the same x.

    outputs: what each gives, by its name below `weights`.
    """
    named = [(weights.under(name), width) for name, width in outputs.items()]
    products = storage.linears(
        graph, x, [below.get("weight", width, inputs) for below, width in named]
    )
    if not biased:
        return list(products)
    return [
        _biased(graph, storage, product, below, width)
        for product, (below, width) in zip(products, named, strict=True)
    ]


def _biased(
    graph: GraphBuilder, storage: Storage, product: ir.Value, weights: Weights, outputs: int
) -> ir.Value:
    return graph.op("Add", product, storage.tensor(graph, weights.get("bias", outputs)))
