"""Attention of prompts over a cache of whole numbers, computed in float32.

GroupQueryAttention reads such a cache faster than one of floats for a token or a few, but
for many it has no matrix product: 512 tokens took 3.7 times as long. So many tokens get
floats: theirs and the past ones, rounded as the cache holds them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from triptych.export.builder import FLOAT, INT32, INT64, MICROSOFT, GraphBuilder

INT8 = ir.DataType.INT8
PROMPT_TOKENS = 32
"""As many tokens of one sequence are a prompt, and so are fewer of which not all logits are wanted.
Those of a draft, of which all are, are computed by the very kernel that computes single ones."""

# Of GroupQueryAttention, what is said of attention and not of the cache.
KEPT = ("num_heads", "kv_num_heads", "local_window_size", "scale", "softcap")
# Where graphs/decoder.py and `store_cache` put its inputs.
PAST_KEY, PAST_VALUE, ENDS, KEY_SCALE, VALUE_SCALE = 3, 4, 5, 12, 13
SINK = 11
"""Where it has one logit for each head that is in every softmax and has no value."""


END_TOKENS = 2
"""The fewest that end a prompt in this sense: one more than the row of logits that is wanted."""


def split_prompts(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """Puts each GroupQueryAttention over an int8 cache behind an If: prompts go another way.

    graph: a decoder with `inputs_embeds` [B, S, H] and `logit_index` [R]. nodes: those of it, with
    their scales.
    """
    inputs = {value.name: value for value in graph.inputs}
    names = [f"{node.name}/{kind}" for node in nodes for kind in ("prompt", "step")]
    first, *builders = GraphBuilder.branches(graph, "kv_cache", *names)
    is_prompt = _is_prompt(first, inputs["inputs_embeds"], inputs["logit_index"])
    graph.insert_before(graph[0], _taken(first))
    for node, prompt, step in zip(nodes, builders[::2], builders[1::2], strict=True):
        dtypes = [FLOAT, INT8, INT8]
        choice = ir.Node(
            "",
            "If",
            [is_prompt],
            attributes=[
                ir.AttrGraph("then_branch", prompt.outcome(_prompt(prompt, node), dtypes)),
                ir.AttrGraph("else_branch", step.outcome(_step(step, node), dtypes)),
            ],
            num_outputs=len(dtypes),
            name=f"{node.name}/If",
        )
        _replace(graph, node, choice)


def _is_prompt(graph: GraphBuilder, embeds: ir.Value, rows: ir.Value) -> ir.Value:
    """Whether there are so many tokens that they are a prompt, bool scalar."""
    shape = graph.op("Shape", embeds, start=0, end=2)
    tokens = graph.op("Gather", shape, graph.constant(1))
    alone = graph.op("Equal", graph.op("Gather", shape, graph.constant(0)), graph.constant(1))
    many = graph.op("GreaterOrEqual", tokens, graph.constant(PROMPT_TOKENS))
    many = graph.op("Or", many, graph.op("Greater", tokens, graph.op("Size", rows)))
    return graph.op("And", many, alone)


def _step(graph: GraphBuilder, node: ir.Node) -> Sequence[ir.Value]:
    """What the node itself gives.

    A sink that has no weight changes nothing but the kernel. Without one, ONNX Runtime takes its
    tiled kernel, which never holds all scores, and for single tokens takes 1.5 times as long (2,000
    tokens of context, AVX-512): there is little to hold.
    """
    attributes = {name: value.value for name, value in node.attributes.items()}
    inputs = list(node.inputs)
    if inputs[SINK] is None:
        heads = node.attributes["num_heads"].as_int()
        inputs[SINK] = graph.constant(np.full(heads, -np.inf), np.float32)
    return graph.ops(node.op_type, *inputs, outputs=3, domain=MICROSOFT, **attributes)


def _prompt(graph: GraphBuilder, node: ir.Node) -> Sequence[ir.Value]:
    """Attention f32 of the tokens of one sequence, and its cache with their rows written."""
    # By the layer's own queries, so that no layer's past is made floats of before its turn.
    count = graph.op("Shape", node.inputs[0], start=1, end=2)
    ends = node.inputs[ENDS]
    if ends is None:
        raise ValueError(f"{node.name} is not told how long the sequence is")
    end = graph.op("Add", graph.op("Cast", ends, to=INT64), graph.constant([1]))
    past = graph.op("Sub", end, count)
    places: ir.Value | None = None
    floats, pasts, presents = [], [], []
    for index, (at, scale_at) in enumerate(((PAST_KEY, KEY_SCALE), (PAST_VALUE, VALUE_SCALE)), 1):
        new, cache, scales = node.inputs[index], node.inputs[at], node.inputs[scale_at]
        heads = node.attributes["kv_num_heads"].as_int()
        if new is None or cache is None or scales is None:
            raise ValueError(f"{node.name} has no cache with scales")
        places = _places(graph, heads, past, end, count) if places is None else places
        by_head = scales
        if scales.shape is not None and scales.shape.numpy() != (1,):
            by_head = graph.op("Reshape", scales, graph.constant([1, heads, 1, -1]))
        ratio = graph.op("Mul", new, graph.op("Reciprocal", scales))
        one, zero = graph.constant(1, np.float32), graph.constant(0, np.int8)
        codes = graph.op("QuantizeLinear", ratio, one, zero)
        rows = graph.op("Reshape", codes, graph.constant([0, 0, heads, -1]))
        rows = graph.op("Transpose", rows, perm=[0, 2, 1, 3])
        # Only the named rows are written where the caller binds one buffer as past and present.
        presents.append(graph.op("ScatterND", cache, places, rows))
        floats.append(graph.op("Mul", graph.op("Cast", codes, to=FLOAT), scales))
        seen = graph.op("Slice", cache, graph.constant([0]), past, graph.constant([2]))
        pasts.append(graph.op("Mul", graph.op("Cast", seen, to=FLOAT), by_head))
    attended, *_ = graph.ops(
        node.op_type,
        node.inputs[0],
        *floats,
        *pasts,
        ends,
        graph.op("Squeeze", graph.op("Cast", end, to=INT32)),
        outputs=3,
        domain=MICROSOFT,
        **{name: node.attributes[name].value for name in KEPT if name in node.attributes},
    )
    return [attended, *presents]


def _places(
    graph: GraphBuilder, heads: int, past: ir.Value, end: ir.Value, count: ir.Value
) -> ir.Value:
    """Where the rows from `past` to `end` lie in a cache, i64 [1, heads, S, 3]."""
    rows = graph.op("Range", graph.op("Squeeze", past), graph.op("Squeeze", end), graph.constant(1))
    shape = graph.op("Concat", graph.constant([1, heads]), count, graph.constant([1]), axis=0)
    rows = graph.op("Expand", graph.op("Unsqueeze", rows, graph.constant([0, 1, 3])), shape)
    numbers = graph.op("Expand", graph.constant(np.arange(heads).reshape(1, heads, 1, 1)), shape)
    return graph.op("Concat", graph.op("Sub", rows, rows), numbers, rows, axis=3)


def _taken(builder: GraphBuilder) -> list[ir.Node]:
    """The nodes of a builder, which belong to no graph any more."""
    subgraph = builder.outcome([], [])
    nodes = list(subgraph)
    subgraph.remove(nodes)
    return nodes


def _replace(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Puts a node in the place of another that gives the same, with the names that had."""
    graph.insert_before(old, new)
    for before, after in zip(old.outputs, new.outputs, strict=True):
        name, before.name = before.name, f"{before.name}/old"
        after.name, after.shape = name, before.shape
        if before.dtype is not None:
            after.dtype = before.dtype
        before.replace_all_uses_with(after, replace_graph_outputs=True)
    graph.remove(old, safe=True)
