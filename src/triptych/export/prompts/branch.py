"""One of the two ways through a decoder, which grows node by node."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import onnx_ir as ir

from triptych.export.builder import GraphBuilder


class Branch:
    """A subgraph that repeats nodes of the whole graph.

    way: "then_branch" or "else_branch", which of each attention's two it takes. known: what stands
    for a value of the whole graph here, where that is not the value itself.
    """

    def __init__(self, builder: GraphBuilder, way: str) -> None:
        self.builder, self.way = builder, way
        self.known: dict[ir.Value, ir.Value] = {}

    def value(self, value: ir.Value) -> ir.Value:
        """What stands for a value here."""
        return self.known.get(value, value)

    def scope(self, node: ir.Node) -> AbstractContextManager[None]:
        """In which things are called as the node is."""
        folder = (node.name or "").rpartition("/")[0]
        return self.builder.scope(folder) if folder else nullcontext()

    def copy(self, node: ir.Node) -> ir.Node:
        """Repeat a node; returns what stands for it here."""
        with self.scope(node):
            results = self.builder.ops(
                node.op_type,
                *(None if value is None else self.value(value) for value in node.inputs),
                outputs=len(node.outputs),
                domain=node.domain,
                **{name: attribute.value for name, attribute in node.attributes.items()},
            )
        for old, new in zip(node.outputs, results, strict=True):
            if old.dtype is not None:
                new.dtype = old.dtype
            self.known[old] = new
        return results[0].producer() or node

    def take(self, choice: ir.Node) -> None:
        """Repeat what stands in this branch of a node that chooses."""
        chosen = choice.attributes[self.way].as_graph()
        for node in chosen:
            self.copy(node)
            for value in node.outputs:
                if not value.uses() and not value.is_graph_output():
                    # ONNX Runtime keeps what nobody reads until the subgraph ends: of 28 layers and
                    # 512 tokens 114 MiB.
                    self.builder.op("Size", self.value(value))
        for outer, inner in zip(choice.outputs, chosen.outputs, strict=True):
            self.known[outer] = self.value(inner)
