"""Attention within windows of a picture (Qwen2.5-VL, arXiv 2502.13923, section 2.1.1).

Windows lie on each image's grid from its first row and column on; those at the right and at the
bottom may hold fewer patches. All windows of all images are computed as one batch, each padded
to a whole window: a picture of 1,000 x 1,000 pixels has a hundred, too small to be worth a run
of their own. Patches keep their order outside of this.
"""

from __future__ import annotations

import onnx_ir as ir

from triptych.export.builder import INT32, GraphBuilder
from triptych.export.graphs.patches import Patches, count_to


class WindowAttention:
    """Finds each patch's window once, for all blocks. side: of a window, in patches."""

    def __init__(self, graph: GraphBuilder, patches: Patches, *, side: int) -> None:
        self._graph, self._slots = graph, side * side
        length = graph.constant(side)

        def windows_in(sizes: ir.Value) -> ir.Value:
            rest = graph.constant(side - 1)
            return graph.op("Div", graph.op("Add", sizes, rest), length)

        across = windows_in(patches.widths)
        counts = graph.op("Mul", across, windows_in(patches.heights))
        ends = graph.op("CumSum", counts, graph.constant(0))
        first = graph.op("Gather", graph.op("Sub", ends, counts), patches.image)
        rows_above = graph.op("Div", patches.row, length)
        before = graph.op("Mul", rows_above, graph.op("Gather", across, patches.image))
        before = graph.op("Add", before, graph.op("Div", patches.column, length))
        window = graph.op("Add", first, before)
        above = graph.op("Mul", graph.op("Mod", patches.row, length), length)
        slot = graph.op("Add", above, graph.op("Mod", patches.column, length))
        whole = graph.constant(self._slots)
        # Where each patch comes to lie when windows stand one after the other.
        self._place = graph.op("Add", graph.op("Mul", window, whole), slot)
        last = graph.op("Gather", ends, graph.constant([-1]))
        room = graph.op("Mul", last, whole)
        number = count_to(graph, graph.op("Shape", self._place))
        # Places without a patch take the first one, which the mask hides.
        self._patch = self._scattered(room, number)
        one = graph.op("Expand", graph.constant(1), graph.op("Shape", self._place))
        there = graph.op("Cast", self._scattered(room, one), to=INT32)
        self._there = graph.op("Reshape", there, graph.constant([-1, self._slots]))

    def __call__(self, parts: tuple[ir.Value, ir.Value, ir.Value], *, heads: int) -> ir.Value:
        """f32 [1, patches, width]; so are queries, keys and values, the parts."""
        graph = self._graph
        query, key, value = (self._windows(part) for part in parts)
        seen = graph.microsoft(
            "MultiHeadAttention", query, key, value, None, self._there, num_heads=heads
        )
        width = graph.op("Shape", seen, start=2)
        shape = graph.op("Concat", graph.constant([1, -1]), width, axis=0)
        rows = graph.op("Reshape", seen, shape)
        return graph.op("Gather", rows, self._place, axis=1)

    def _windows(self, rows: ir.Value) -> ir.Value:
        """f32 [1, patches, width] as [windows, slots, width]."""
        graph = self._graph
        width = graph.op("Shape", rows, start=2, end=3)
        apart = graph.op("Gather", rows, self._patch, axis=1)
        shape = graph.op("Concat", graph.constant([-1, self._slots]), width, axis=0)
        return graph.op("Reshape", apart, shape)

    def _scattered(self, room: ir.Value, values: ir.Value) -> ir.Value:
        """i64 [room]: values i64 [patches] at their places, zeros between."""
        graph = self._graph
        nothing = graph.op("Expand", graph.constant(0), room)
        return graph.op("ScatterElements", nothing, self._place, values, axis=0)
