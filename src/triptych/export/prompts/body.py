"""The part of a decoder that prompts and single tokens each have in a form of their own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

CHOICE, PRODUCT = "If", "MatMulNBits"
PRESENT = "present."


@dataclass(frozen=True, eq=False)
class Body:
    """All that keys and values of some token come from, from the first product on.

    nodes: in their order. attentions: those of them that are each an If on `condition`, whether
    there is a prompt. left: their values that others read or the graph gives. What only logits
    come from is not among the nodes.
    """

    condition: ir.Value
    attentions: Collection[ir.Node]
    nodes: list[ir.Node]
    left: list[ir.Value]


def body_of(graph: ir.Graph) -> Body | None:
    """None for a decoder whose attentions do not tell prompts from single tokens."""
    attentions = {
        node
        for node in graph
        if node.op_type == CHOICE
        and any((value.name or "").startswith(PRESENT) for value in node.outputs)
    }
    conditions = {node.inputs[0] for node in attentions}
    condition = conditions.pop() if len(conditions) == 1 else None
    if condition is None:
        return None
    read = {node: _read(node) for node in graph}
    after: set[ir.Value] = set()
    for node in graph:
        if node in attentions or node.op_type == PRODUCT or not after.isdisjoint(read[node]):
            after.update(node.outputs)
    before: set[ir.Value] = set()
    for node in reversed(graph):
        if node in attentions or not before.isdisjoint(node.outputs):
            before |= read[node]
    nodes = [
        node
        for node in graph
        if not after.isdisjoint(node.outputs)
        and (node in attentions or not before.isdisjoint(node.outputs))
    ]
    inside = set(nodes)
    outside = set[ir.Value]().union(*(read[node] for node in graph if node not in inside))
    left = [
        value
        for node in nodes
        for value in node.outputs
        if value in outside or value.is_graph_output()
    ]
    return Body(condition, attentions, nodes, left)


def _read(node: ir.Node) -> set[ir.Value]:
    """What a node reads, its subgraphs included."""
    found = {value for value in node.inputs if value is not None}
    for attribute in node.attributes.values():
        if isinstance(attribute.value, ir.Graph):
            for inner in attribute.value:
                found |= _read(inner)
            found.update(attribute.value.outputs)
    return found
