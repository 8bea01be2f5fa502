"""One choice between prompts and single tokens around all layers, in place of one for each.

An If takes some 20 microseconds of a step, 4 % of one for 28 of them (0.6B, two cores). What both
of its ways read is there once: from 1.31 on ONNX Runtime shares what it has packed of blocks, and
takes longer to load them, since it packs for each way before it sees that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir

from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.prompts.body import CHOICE, PRODUCT, Body, body_of
from triptych.export.prompts.branch import Branch

WEIGHT = ".weight"
"""In the names of what a checkpoint holds."""
MATRIX_AXES = 2

Product = Callable[[Branch, ir.Node, ir.Node], ir.Value]
"""A prompt's product in its branch, of the node it stands for and of the step's."""


def join_choices(graph: Path) -> None:
    """Rewrites the decoder at `graph` with one If around all layers, if it has one for each.

    A decoder with other weights than blocks between its attentions stays as it is: those would be
    packed for each way. Data files beside it stay as they are.
    """
    model = ir.load(graph)
    body = body_of(model.graph)
    if body is not None and not other_weights(body):
        choose_once(model.graph, body)
        ir.save(model, graph)


def other_weights(body: Body) -> list[str]:
    """What ONNX Runtime would pack for each way: matrices that are no blocks, and subgraphs."""
    found: list[str] = []
    for node in body.nodes:
        if node in body.attentions or node.op_type == PRODUCT:
            continue
        weights = [name for value in node.inputs if value is not None and (name := _large(value))]
        inner = any(isinstance(one.value, ir.Graph) for one in node.attributes.values())
        found += weights or ([node.name or node.op_type] if inner else [])
    return found


def _large(value: ir.Value) -> str:
    """The name of a matrix of a checkpoint; nothing for all else."""
    name = value.name or ""
    matrix = value.is_initializer() and len(value.shape or ()) >= MATRIX_AXES
    return name if matrix and WEIGHT in name else ""


def choose_once(graph: ir.Graph, body: Body, product: Product | None = None) -> None:
    """Puts the body behind one If; product: of prompts, where theirs is another one."""
    builders = GraphBuilder.branches(graph, "prompt", "step")
    prompt, step = Branch(builders[0], "then_branch"), Branch(builders[1], "else_branch")
    for node in body.nodes:
        if node in body.attentions:
            prompt.take(node)
            step.take(node)
            continue
        again = step.copy(node)
        if node.op_type == PRODUCT and product is not None:
            prompt.known[node.outputs[0]] = product(prompt, node, again)
        else:
            prompt.copy(node)
    dtypes = [value.dtype or FLOAT for value in body.left]
    choice = ir.Node(
        "",
        CHOICE,
        [body.condition],
        attributes=[
            ir.AttrGraph(
                branch.way,
                branch.builder.outcome([branch.value(value) for value in body.left], dtypes),
            )
            for branch in (prompt, step)
        ],
        num_outputs=len(body.left),
        name=f"decoder/{CHOICE}",
    )
    graph.insert_before(body.nodes[0], choice)
    for before, after, dtype in zip(body.left, choice.outputs, dtypes, strict=True):
        name, before.name = before.name, f"{before.name}/old"
        after.name, after.shape, after.dtype = name, before.shape, dtype
        before.replace_all_uses_with(after, replace_graph_outputs=True)
    for attention in body.attentions:
        # What they hold reads values of the body as well.
        for attribute in attention.attributes.values():
            inner = attribute.as_graph()
            inner.outputs.clear()
            inner.remove(list(inner), safe=True)
    graph.remove(body.nodes, safe=True)
