"""What attention looks at, computed beside the operators that do not tell it.

Nothing of this is in a graph unless an export exposes it: see `triptych.export.exposing`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from triptych.export.builder import FLOAT, INT64, GraphBuilder
from triptych.export.graphs.patches import OneImage, Patches, image_by_image
from triptych.export.graphs.rotary import Rotary
from triptych.export.graphs.shape import DecoderShape


class AttentionRows:
    """The softmax of each query over the keys that it may see, f32 [B, heads, S, total].

    mask: i64 [B, total]; ends: i32 [B], the last index of each row of the batch.
    """

    def __init__(
        self, graph: GraphBuilder, shape: DecoderShape, mask: ir.Value, ends: ir.Value
    ) -> None:
        self._graph, self._shape = graph, shape
        self._mask, self._ends = mask, ends
        self._hidden: dict[int | None, ir.Value] = {}

    def __call__(self, query: ir.Value, key: ir.Value, *, window: int | None) -> ir.Value:
        """Of one layer.

        query: f32 [B, S, heads * head], turned. key: the present one, [B, kv, max_len, head], of
        which the first `total` rows are looked at. window: how many tokens back a query sees.
        """
        graph, shape = self._graph, self._shape
        total = graph.op("Shape", self._mask, start=1, end=2)
        apart = graph.op("Reshape", query, graph.constant([0, 0, shape.heads, shape.head]))
        by_head = graph.op("Transpose", apart, perm=[0, 2, 1, 3])
        by_group = graph.op("Reshape", by_head, graph.constant([0, shape.kv_heads, -1, shape.head]))
        seen = graph.op("Slice", key, graph.constant([0]), total, graph.constant([2]))
        seen = graph.op("Transpose", graph.op("Cast", seen, to=FLOAT), perm=[0, 1, 3, 2])
        scale = graph.constant(shape.head**-0.5, np.float32)
        scores = graph.op("Mul", graph.op("MatMul", by_group, seen), scale)
        whole = graph.op(
            "Concat",
            graph.op("Shape", query, end=1),
            graph.constant([shape.heads]),
            graph.op("Shape", query, start=1, end=2),
            total,
            axis=0,
        )
        scores = graph.op("Reshape", scores, whole)
        if window not in self._hidden:
            self._hidden[window] = self._unseen(query, total, window)
        return graph.op("Softmax", graph.op("Add", scores, self._hidden[window]), axis=-1)

    def _unseen(self, query: ir.Value, total: ir.Value, window: int | None) -> ir.Value:
        """-inf where a key is later than the query, or too long ago; f32 [B, 1, S, total]."""
        graph = self._graph
        new = graph.op("Squeeze", graph.op("Shape", query, start=1, end=2), graph.constant([0]))
        back = graph.op("Range", graph.op("Sub", graph.constant(1), new), graph.constant(1),
                        graph.constant(1))  # fmt: skip
        ends = graph.op("Unsqueeze", graph.op("Cast", self._ends, to=INT64), graph.constant([1]))
        places = graph.op("Unsqueeze", graph.op("Add", ends, back), graph.constant([1, 3]))
        count = graph.op("Squeeze", total, graph.constant([0]))
        keys = graph.op("Range", graph.constant(0), count, graph.constant(1))
        hidden = graph.op("Greater", keys, places)
        if window is not None:
            first = graph.op("Sub", places, graph.constant(window))
            hidden = graph.op("Or", hidden, graph.op("LessOrEqual", keys, first))
        nothing = graph.constant(0, np.float32)
        return graph.op("Where", hidden, graph.constant(-np.inf, np.float32), nothing)


def received_attention(
    graph: GraphBuilder,
    mixed: ir.Value,
    rotary: Rotary,
    patches: Patches,
    *,
    heads: int,
    width: int,
    merge: int,
) -> ir.Value:
    """How much of its image's attention each merged row receives, f32 [N].

    Averaged over heads and over the patches that look; an image's rows add up to 1. One head of
    one image is looked at at a time, so that no more than [patches, patches] is in memory.
    mixed: f32 [patches, 3 * width], queries, keys and values side by side.
    """
    head = width // heads

    def one_image(inner: GraphBuilder, image: OneImage) -> ir.Value:
        def by_head(number: int) -> ir.Value:
            turned = rotary(inner, image.part(number), heads, start=image.start)
            apart = inner.op("Reshape", turned, inner.constant([-1, heads, head]))
            return inner.op("Transpose", apart, perm=[1, 0, 2])

        queries, keys = by_head(0), by_head(1)

        def one_head(deep: GraphBuilder, number: ir.Value, so_far: ir.Value) -> ir.Value:
            query, key = (deep.op("Gather", one, number, axis=0) for one in (queries, keys))
            scores = deep.op("MatMul", query, deep.op("Transpose", key, perm=[1, 0]))
            scores = deep.op("Mul", scores, deep.constant(head**-0.5, np.float32))
            received = deep.op(
                "ReduceMean", deep.op("Softmax", scores, axis=-1), deep.constant([0]), keepdims=0
            )
            return deep.op("Add", so_far, received)

        count = inner.op("Sub", image.end, image.start)
        nothing = inner.op("Expand", inner.constant(0, np.float32), count)
        nothing.dtype = FLOAT
        received = inner.loop(inner.constant(heads), nothing, one_head)
        grouped = inner.op("Reshape", received, inner.constant([-1, merge * merge]))
        merged = inner.op("ReduceSum", grouped, inner.constant([1]), keepdims=0)
        return inner.op("Div", merged, inner.constant(heads, np.float32))

    return image_by_image(graph, mixed, patches, one_image, width=width, axis=0)
