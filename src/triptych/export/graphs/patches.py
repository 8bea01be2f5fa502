"""Patches of pictures, as the vision encoders of Qwen's models take them.

Nothing depends on sizes known at export: each patch finds its image, its row and its column from
the grids, and attention visits the images one after the other, so that no work and no memory
goes into pairs of patches from different images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from triptych.export.builder import FLOAT, INT64, GraphBuilder
from triptych.export.graphs.rotary import Rotary, inverse_frequencies


@dataclass(frozen=True)
class Patches:
    """Where each patch lies, in patches.

    image, row, column, height, width: i64 [patches]; the last two are of the patch's image.
    inside: i64 [patches], its place among the merge x merge patches that become one row.
    heights, widths, starts, ends: i64 [images]; the last two number patches.
    alone: bool [1], whether there is one image.
    """

    image: ir.Value
    row: ir.Value
    column: ir.Value
    inside: ir.Value
    height: ir.Value
    width: ir.Value
    heights: ir.Value
    widths: ir.Value
    starts: ir.Value
    ends: ir.Value
    alone: ir.Value


def find_patches(graph: GraphBuilder, pixels: ir.Value, grids: ir.Value, *, merge: int) -> Patches:
    """Finds each patch's image, then its row and column.

    pixels: [patches, ...], in blocks of merge x merge neighbours, the blocks in raster order.
    grids: i64 [images, 3] as (1, height, width).
    """
    heights = graph.op("Gather", grids, graph.constant(1), axis=1)
    widths = graph.op("Gather", grids, graph.constant(2), axis=1)
    counts = graph.op("Mul", heights, widths)
    ends = graph.op("CumSum", counts, graph.constant(0))
    starts = graph.op("Sub", ends, counts)
    index = count_to(graph, graph.op("Shape", pixels, start=0, end=1))
    # The image of a patch is the number of images that end before it.
    over = graph.op("GreaterOrEqual", index, graph.op("Unsqueeze", ends, graph.constant([1])))
    image = graph.op("ReduceSum", graph.op("Cast", over, to=INT64), graph.constant([0]), keepdims=0)
    height, width = graph.op("Gather", heights, image), graph.op("Gather", widths, image)
    within = graph.op("Sub", index, graph.op("Gather", starts, image))
    side, area = graph.constant(merge), graph.constant(merge * merge)
    blocks = graph.op("Div", within, area)
    blocks_across = graph.op("Div", width, side)
    inside = graph.op("Mod", within, area)

    def place(block: ir.Value, offset: ir.Value) -> ir.Value:
        return graph.op("Add", graph.op("Mul", block, side), offset)

    return Patches(
        image=image,
        row=place(graph.op("Div", blocks, blocks_across), graph.op("Div", inside, side)),
        column=place(graph.op("Mod", blocks, blocks_across), graph.op("Mod", inside, side)),
        inside=inside,
        height=height,
        width=width,
        heights=heights,
        widths=widths,
        starts=starts,
        ends=ends,
        alone=graph.op("Equal", graph.op("Shape", ends), graph.constant([1])),
    )


def count_to(graph: GraphBuilder, length: ir.Value) -> ir.Value:
    """0, 1, ... up to below length i64 [1]."""
    limit = graph.op("Squeeze", length, graph.constant([0]))
    return graph.op("Range", graph.constant(0), limit, graph.constant(1))


def axial_rotary(graph: GraphBuilder, patches: Patches, *, theta: float, head: int) -> Rotary:
    """Half of the frequencies turn by the row, half by the column."""
    frequencies = graph.constant(inverse_frequencies(theta, head // 2), np.float32)

    def turned(place: ir.Value) -> ir.Value:
        column = graph.op("Unsqueeze", place, graph.constant([1]))
        return graph.op("Mul", graph.op("Cast", column, to=FLOAT), frequencies)

    angles = graph.op("Concat", turned(patches.row), turned(patches.column), axis=1)
    index = count_to(graph, graph.op("Shape", patches.row))
    return Rotary(graph, angles, graph.op("Unsqueeze", index, graph.constant([0])))


@dataclass(frozen=True)
class OneImage:
    """An image within the loop over all. start, end: i64 [1], its patches among all."""

    start: ir.Value
    end: ir.Value
    part: Callable[[int], ir.Value]
    """Its queries (0), keys (1) or values (2), f32 [1, patches, width]."""


def image_by_image(
    graph: GraphBuilder,
    mixed: ir.Value,
    patches: Patches,
    one_image: Callable[[GraphBuilder, OneImage], ir.Value],
    *,
    width: int,
    axis: int,
) -> ir.Value:
    """What `one_image` makes of each image in a loop, f32, joined along `axis`.

    mixed: f32 [patches, 3 * width], queries, keys and values side by side. They are taken apart for
    one image at a time, so that no other copy of them is made.
    """
    rows, columns = graph.constant([0]), graph.constant([1, 2])
    mixed = graph.op("Unsqueeze", mixed, rows)

    def body(inner: GraphBuilder, index: ir.Value, done: ir.Value) -> ir.Value:
        at = inner.op("Unsqueeze", index, inner.constant([0]))
        start = inner.op("Gather", patches.starts, at)
        end = inner.op("Gather", patches.ends, at)

        def part(number: int) -> ir.Value:
            first, last = inner.constant([number * width]), inner.constant([(number + 1) * width])
            low = inner.op("Concat", start, first, axis=0)
            high = inner.op("Concat", end, last, axis=0)
            return inner.op("Slice", mixed, low, high, columns)

        return inner.op("SequenceInsert", done, one_image(inner, OneImage(start, end, part)))

    none_yet = graph.op("SequenceEmpty", dtype=FLOAT)
    none_yet.type = ir.SequenceType(ir.TensorType(FLOAT))
    images = graph.op("Squeeze", graph.op("Shape", patches.ends), graph.constant([0]))
    return graph.op("ConcatFromSequence", graph.loop(images, none_yet, body), axis=axis)


def attention_by_image(
    graph: GraphBuilder,
    mixed: ir.Value,
    rotary: Rotary,
    patches: Patches,
    *,
    heads: int,
    width: int,
) -> ir.Value:
    """Each image by itself, f32 [patches, width].

    mixed: f32 [patches, 3 * width], queries, keys and values side by side. They are taken apart
    and turned for one image at a time, so that no other copy of them is made.
    """

    def one_image(inner: GraphBuilder, image: OneImage) -> ir.Value:
        query, key = (
            rotary(inner, image.part(number), heads, start=image.start) for number in (0, 1)
        )
        return inner.microsoft("MultiHeadAttention", query, key, image.part(2), num_heads=heads)

    def alone(inner: GraphBuilder) -> ir.Value:
        """Without the loop, which would copy the only image's parts and result."""
        whole = inner.op("Unsqueeze", mixed, inner.constant([0]))
        parts = inner.ops("Split", whole, outputs=3, axis=-1, num_outputs=3)
        image = OneImage(patches.starts, patches.ends, parts.__getitem__)
        return one_image(inner, image)

    def several(inner: GraphBuilder) -> ir.Value:
        return image_by_image(inner, mixed, patches, one_image, width=width, axis=1)

    seen = graph.choice(patches.alone, alone, several)
    joined = graph.op("Squeeze", seen, graph.constant([0]))
    # ONNX Runtime cannot know this from a sequence, and fuses nothing of an unknown rank.
    joined.dtype, joined.shape = FLOAT, ir.Shape(["patches", width])
    return joined
