"""The vision encoder's graph, after Qwen3VLVisionModel of transformers 5.23."""

from __future__ import annotations

from functools import partial, reduce

import numpy as np
import onnx_ir as ir

from triptych.export.builder import FLOAT, INT64, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.graphs.diagnostics import received_attention
from triptych.export.graphs.patches import (
    Patches,
    attention_by_image,
    axial_rotary,
    find_patches,
)
from triptych.export.graphs.rotary import Rotary
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Precision
from triptych.export.qwen3_vl.config import VisionConfig

# Fixed in the model's code, not in its config.
EPSILON = 1e-6


def vision_encoder(config: VisionConfig, weights: Weights, precision: Precision) -> ir.Model:
    """The graph of a whole vision encoder.

    `pixel_values` f32 [patches, channels * temporal patch * patch * patch] and `image_grid_thw`
    i64 [images, 3] (t is 1: the frames of a clip are rows of their own) become
    `image_features` f32 [N, H] and `deepstack_features` f32 [K, N, H].
    """
    return _VisionGraph(config, weights, precision).build()


class _VisionGraph:
    def __init__(self, config: VisionConfig, weights: Weights, precision: Precision) -> None:
        self.config, self.weights, self.storage = config, weights, precision.part("vision")
        self.graph = GraphBuilder("vision_encoder")

    def build(self) -> ir.Model:
        graph, config = self.graph, self.config
        pixels = graph.input("pixel_values", FLOAT, ["patches", config.patch_values])
        grids = graph.input("image_grid_thw", INT64, ["images", 3])
        with graph.scope("place"):
            places = find_patches(graph, pixels, grids, merge=config.merge)
        with graph.scope("patch_embed"):
            hidden = self.patch_embed(pixels)
        with graph.scope("position"):
            hidden = graph.op("Add", hidden, self.position_embedding(places))
        with graph.scope("rotary"):
            rotary = axial_rotary(graph, places, theta=config.rope_theta, head=config.head)
        deepstack = []
        mergers = dict(config.deepstack_layers)
        for block in range(config.depth):
            with graph.scope(f"blocks.{block}"):
                hidden = self.block(hidden, block, rotary, places)
            if block in mergers:
                name = f"deepstack_merger_list.{mergers[block]}"
                with graph.scope(name):
                    deepstack.append(self.merger(hidden, self.weights.under(name), late_norm=True))
        with graph.scope("merger"):
            features = self.merger(hidden, self.weights.under("merger"), late_norm=False)
        graph.output("image_features", features, FLOAT, ["N", config.out_hidden])
        graph.output(
            "deepstack_features",
            self.stacked(deepstack, features),
            FLOAT,
            [len(deepstack), "N", config.out_hidden],
        )
        return graph.model()

    def patch_embed(self, pixels: ir.Value) -> ir.Value:
        """A convolution whose stride is its kernel is a linear layer on each patch."""
        config = self.config
        kernel = self.weights.get(
            "patch_embed.proj.weight",
            config.hidden,
            config.channels,
            config.temporal_patch,
            config.patch,
            config.patch,
        ).reshaped(config.hidden, config.patch_values)
        bias = self.weights.get("patch_embed.proj.bias", config.hidden)
        return self.add_bias(self.storage.linear(self.graph, pixels, kernel), bias)

    def position_embedding(self, places: Patches) -> ir.Value:
        """The square table of learned positions, resampled bilinearly to each image's grid."""
        graph, config = self.graph, self.config
        side = config.positions_per_side
        table = self.weights.get("pos_embed.weight", side**2, config.hidden)
        rows = self.taps(places.row, places.height)
        columns = self.taps(places.column, places.width)
        rows_at = self.storage.float_rows(graph, table)

        def share_of(row: tuple[ir.Value, ir.Value], column: tuple[ir.Value, ir.Value]) -> ir.Value:
            place = graph.op("Add", graph.op("Mul", row[0], graph.constant(side)), column[0])
            share = graph.op("Mul", row[1], column[1])
            found = rows_at(place)
            return graph.op("Mul", found, graph.op("Unsqueeze", share, graph.constant([1])))

        shares = [share_of(row, column) for row in rows for column in columns]
        return reduce(lambda total, share: graph.op("Add", total, share), shares)

    def taps(self, index: ir.Value, size: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
        """The two table rows around each patch (i64) and how much each counts (f32).

        The first and the last patch of an axis fall on the first and the last row of the table.
        """
        graph, side = self.graph, self.config.positions_per_side
        steps = graph.op("Max", graph.op("Sub", size, graph.constant(1)), graph.constant(1))
        place = graph.op(
            "Div",
            graph.op(
                "Mul",
                graph.op("Cast", index, to=FLOAT),
                graph.constant(side - 1, np.float32),
            ),
            graph.op("Cast", steps, to=FLOAT),
        )
        floor = graph.op("Floor", place)
        share = graph.op("Sub", place, floor)
        low = graph.op("Cast", floor, to=INT64)
        high = graph.op("Min", graph.op("Add", low, graph.constant(1)), graph.constant(side - 1))
        return [
            (low, graph.op("Sub", graph.constant(1, np.float32), share)),
            (high, share),
        ]

    def block(self, hidden: ir.Value, index: int, rotary: Rotary, places: Patches) -> ir.Value:
        graph, config = self.graph, self.config
        weights = self.weights.under(f"blocks.{index}")
        normed = self.layer_norm(hidden, weights.under("norm1"), config.hidden)
        hidden = graph.op(
            "Add", hidden, self.attention(normed, weights.under("attn"), rotary, places, index)
        )
        normed = self.layer_norm(hidden, weights.under("norm2"), config.hidden)
        wide = self.linear(
            normed, weights.under("mlp.linear_fc1"), config.hidden, config.intermediate
        )
        approximate = "tanh" if config.activation == "gelu_pytorch_tanh" else "none"
        wide = graph.op("Gelu", wide, approximate=approximate)
        narrow = self.linear(
            wide, weights.under("mlp.linear_fc2"), config.intermediate, config.hidden
        )
        return graph.op("Add", hidden, narrow)

    def attention(
        self, normed: ir.Value, weights: Weights, rotary: Rotary, places: Patches, index: int
    ) -> ir.Value:
        graph, config = self.graph, self.config
        mixed = self.linear(normed, weights.under("qkv"), config.hidden, 3 * config.hidden)
        joined = attention_by_image(
            graph, mixed, rotary, places, heads=config.heads, width=config.hidden
        )
        sizes = {"heads": config.heads, "width": config.hidden, "merge": config.merge}
        received = partial(received_attention, graph, mixed, rotary, places, **sizes)
        graph.offer(f"vision_attention.{index}", received, ["N"])
        return self.linear(joined, weights.under("proj"), config.hidden, config.hidden)

    def merger(self, hidden: ir.Value, weights: Weights, *, late_norm: bool) -> ir.Value:
        """Joins merge x merge patches and projects them to the text's width.

        late_norm: normalise the joined patches (DeepStack's mergers) instead of each patch.
        """
        graph, config = self.graph, self.config
        wide = config.merged_hidden
        if not late_norm:
            hidden = self.layer_norm(hidden, weights.under("norm"), config.hidden)
        joined = graph.op("Reshape", hidden, graph.constant([-1, wide]))
        if late_norm:
            joined = self.layer_norm(joined, weights.under("norm"), wide)
        joined = graph.op("Gelu", self.linear(joined, weights.under("linear_fc1"), wide, wide))
        return self.linear(joined, weights.under("linear_fc2"), wide, config.out_hidden)

    def stacked(self, layers: list[ir.Value], features: ir.Value) -> ir.Value:
        """The layers' features under one another; without a layer, an empty stack."""
        graph = self.graph
        stacked = [graph.op("Unsqueeze", one, graph.constant([0])) for one in layers or [features]]
        if not layers:
            nothing = graph.constant([0])
            return graph.op("Slice", stacked[0], nothing, nothing, nothing)
        return graph.op("Concat", *stacked, axis=0)

    def linear(self, x: ir.Value, weights: Weights, inputs: int, outputs: int) -> ir.Value:
        product = self.storage.linear(self.graph, x, weights.get("weight", outputs, inputs))
        return self.add_bias(product, weights.get("bias", outputs))

    def add_bias(self, x: ir.Value, bias: Weight) -> ir.Value:
        return self.graph.op("Add", x, self.storage.tensor(self.graph, bias))

    def layer_norm(self, x: ir.Value, weights: Weights, width: int) -> ir.Value:
        return self.graph.op(
            "LayerNormalization",
            x,
            self.storage.tensor(self.graph, weights.get("weight", width)),
            self.storage.tensor(self.graph, weights.get("bias", width)),
            axis=-1,
            epsilon=EPSILON,
        )
