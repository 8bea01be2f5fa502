"""The vision encoders' graphs, after Qwen2-VL's and Qwen2.5-VL's in transformers 5.23.

The order of patches is the processor's throughout: transformers sorts Qwen2.5-VL's by windows and
sorts the features back, which changes nothing that is computed.
"""

from __future__ import annotations

from functools import partial

import onnx_ir as ir

from triptych.export.builder import FLOAT, INT64, GraphBuilder
from triptych.export.graphs.diagnostics import received_attention
from triptych.export.graphs.linear import linear
from triptych.export.graphs.patches import (
    Patches,
    attention_by_image,
    axial_rotary,
    find_patches,
)
from triptych.export.graphs.rotary import Rotary
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Precision
from triptych.export.qwen2_vl.config import VisionShape
from triptych.export.qwen2_vl.windows import WindowAttention

# Fixed in the models' code, not in their configs.
EPSILON = 1e-6
QUICK_GELU = 1.702


def vision_encoder(shape: VisionShape, weights: Weights, precision: Precision) -> ir.Model:
    """The graph of a whole vision encoder.

    `pixel_values` f32 [patches, channels * temporal patch * patch * patch] and `image_grid_thw`
    i64 [images, 3] (t is 1) become `image_features` f32 [N, H].
    """
    return _VisionGraph(shape, weights, precision).build()


class _VisionGraph:
    def __init__(self, shape: VisionShape, weights: Weights, precision: Precision) -> None:
        self.shape, self.weights, self.storage = shape, weights, precision.part("vision")
        self.graph = graph = GraphBuilder("vision_encoder")
        self.pixels = graph.input("pixel_values", FLOAT, ["patches", shape.patch_values])
        grids = graph.input("image_grid_thw", INT64, ["images", 3])
        with graph.scope("place"):
            self.places: Patches = find_patches(graph, self.pixels, grids, merge=shape.merge)
        with graph.scope("rotary"):
            self.rotary: Rotary = axial_rotary(
                graph, self.places, theta=shape.rope_theta, head=shape.head
            )
        self.windowed: WindowAttention | None = None
        if shape.windows is not None:
            with graph.scope("windows"):
                self.windowed = WindowAttention(graph, self.places, side=shape.windows.side)

    def build(self) -> ir.Model:
        graph, shape = self.graph, self.shape
        with graph.scope("patch_embed"):
            hidden = self.patch_embed()
        for block in range(shape.depth):
            with graph.scope(f"blocks.{block}"):
                hidden = self.block(hidden, self.weights.under(f"blocks.{block}"), block)
        with graph.scope("merger"):
            features = self.merger(hidden, self.weights.under("merger"))
        graph.output("image_features", features, FLOAT, ["N", shape.out_hidden])
        return graph.model()

    def patch_embed(self) -> ir.Value:
        """A convolution whose stride is its kernel is a linear layer on each patch."""
        shape = self.shape
        kernel = self.weights.get(
            "patch_embed.proj.weight",
            shape.hidden,
            shape.channels,
            shape.temporal_patch,
            shape.patch,
            shape.patch,
        )
        flat = kernel.reshaped(shape.hidden, shape.patch_values)
        return self.storage.linear(self.graph, self.pixels, flat)

    def block(self, hidden: ir.Value, weights: Weights, index: int) -> ir.Value:
        graph = self.graph
        normed = self.norm(hidden, weights.under("norm1"))
        seen = self.attention(normed, weights.under("attn"), index)
        hidden = graph.op("Add", hidden, seen)
        normed = self.norm(hidden, weights.under("norm2"))
        return graph.op("Add", hidden, self.feed_forward(normed, weights.under("mlp")))

    def attention(self, normed: ir.Value, weights: Weights, index: int) -> ir.Value:
        graph, shape = self.graph, self.shape
        mixed = self.linear(normed, weights.under("qkv"), shape.hidden, 3 * shape.hidden)
        if shape.windows is None or self.windowed is None or index in shape.windows.full_blocks:
            joined = attention_by_image(
                graph, mixed, self.rotary, self.places, heads=shape.heads, width=shape.hidden
            )
            sizes = {"heads": shape.heads, "width": shape.hidden, "merge": shape.merge}
            received = partial(received_attention, graph, mixed, self.rotary, self.places, **sizes)
            graph.offer(f"vision_attention.{index}", received, ["N"])
        else:
            mixed = graph.op("Unsqueeze", mixed, graph.constant([0]))
            query, key, value = graph.ops("Split", mixed, outputs=3, axis=-1, num_outputs=3)
            query = self.rotary(graph, query, shape.heads)
            key = self.rotary(graph, key, shape.heads)
            seen = self.windowed((query, key, value), heads=shape.heads)
            joined = graph.op("Squeeze", seen, graph.constant([0]))
        return self.linear(joined, weights.under("proj"), shape.hidden, shape.hidden)

    def feed_forward(self, normed: ir.Value, weights: Weights) -> ir.Value:
        graph, narrow, wide = self.graph, self.shape.hidden, self.shape.intermediate
        if not self.shape.gated:
            inner = self.linear(normed, weights.under("fc1"), narrow, wide)
            inner = graph.microsoft("QuickGelu", inner, alpha=QUICK_GELU)
            return self.linear(inner, weights.under("fc2"), wide, narrow)
        gate = self.linear(normed, weights.under("gate_proj"), narrow, wide)
        up = self.linear(normed, weights.under("up_proj"), narrow, wide)
        inner = graph.op("Mul", graph.op("Mul", gate, graph.op("Sigmoid", gate)), up)
        return self.linear(inner, weights.under("down_proj"), wide, narrow)

    def merger(self, hidden: ir.Value, weights: Weights) -> ir.Value:
        """Joins merge x merge patches and projects them to the text's width."""
        graph, wide = self.graph, self.shape.merged_hidden
        normed = self.norm(hidden, weights.under("ln_q"))
        joined = graph.op("Reshape", normed, graph.constant([-1, wide]))
        joined = graph.op("Gelu", self.linear(joined, weights.under("mlp.0"), wide, wide))
        return self.linear(joined, weights.under("mlp.2"), wide, self.shape.out_hidden)

    def linear(self, x: ir.Value, weights: Weights, inputs: int, outputs: int) -> ir.Value:
        return linear(self.graph, self.storage, x, weights, inputs, outputs, biased=True)

    def norm(self, x: ir.Value, weights: Weights) -> ir.Value:
        graph, width = self.graph, self.shape.hidden
        scale = self.storage.tensor(graph, weights.get("weight", width))
        if self.shape.gated:
            return graph.op(
                "SimplifiedLayerNormalization", x, scale, axis=-1, epsilon=EPSILON, stash_type=1
            )
        bias = self.storage.tensor(graph, weights.get("bias", width))
        return graph.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)
