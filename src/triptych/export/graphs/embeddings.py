"""The embeddings graph: token ids become rows of the table."""

from __future__ import annotations

import onnx_ir as ir

from triptych.export.builder import FLOAT, INT64, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.precision import Precision


def embeddings(table: Weight, precision: Precision) -> ir.Model:
    """`input_ids` i64 [B, S] -> `inputs_embeds` f32 [B, S, H]; table is [V, H]."""
    graph = GraphBuilder("embeddings")
    ids = graph.input("input_ids", INT64, ["B", "S"])
    rows = precision.part("embeddings").rows(graph, table, ids)
    graph.output("inputs_embeds", rows, FLOAT, ["B", "S", table.shape[1]])
    return graph.model()
