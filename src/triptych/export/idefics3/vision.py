"""The vision encoder's graph: SigLIP over tiles, and what connects it to the text.

Computes what Idefics3VisionTransformer and Idefics3Connector of transformers 5.23 do.

All tiles have one size, known at export, and each attends to itself alone. They are encoded one
after the other, which takes no longer than all at once, and no more memory than for one: a large
picture has 17 tiles, and a prompt may have several. The empty tiles and the masks that make up
transformers' batches do not occur.
"""

from __future__ import annotations

import onnx_ir as ir

from triptych.export.builder import FLOAT, Axes, GraphBuilder
from triptych.export.graphs.linear import linear
from triptych.export.graphs.weights import Weights
from triptych.export.idefics3.config import VisionConfig
from triptych.export.precision import Precision, Storage


def vision_encoder(
    config: VisionConfig, encoder: Weights, connector: Weights, precision: Precision
) -> ir.Model:
    """The graph of a vision encoder and its connector.

    `pixel_values` f32 [tiles, channels, tile, tile] become `image_features` f32 [N, H], the rows
    of each tile one after the other.
    """
    graph = GraphBuilder("vision_encoder")
    storage = precision.part("vision")
    axes: Axes = ["tiles", config.channels, config.tile, config.tile]
    pixels = graph.input("pixel_values", FLOAT, axes)

    def one_tile(inner: GraphBuilder, index: ir.Value, done: ir.Value) -> ir.Value:
        tile = inner.op("Gather", pixels, inner.op("Unsqueeze", index, inner.constant([0])), axis=0)
        features = _TileGraph(inner, config, encoder, connector, storage).features(tile)
        return inner.op("SequenceInsert", done, features)

    none_yet = graph.op("SequenceEmpty", dtype=FLOAT)
    none_yet.type = ir.SequenceType(ir.TensorType(FLOAT))
    tiles = graph.op("Gather", graph.op("Shape", pixels), graph.constant(0))
    seen = graph.loop(tiles, none_yet, one_tile)
    features = graph.op("ConcatFromSequence", seen, axis=0)
    graph.output("image_features", features, FLOAT, ["N", config.out_hidden])
    return graph.model()


class _TileGraph:
    """What becomes of one tile."""

    def __init__(
        self,
        graph: GraphBuilder,
        config: VisionConfig,
        encoder: Weights,
        connector: Weights,
        storage: Storage,
    ) -> None:
        self.graph, self.config, self.storage = graph, config, storage
        self.encoder, self.connector = encoder, connector

    def features(self, pixels: ir.Value) -> ir.Value:
        """The rows f32 [rows, H] of one tile f32 [1, channels, tile, tile]."""
        graph = self.graph
        with graph.scope("embeddings"):
            hidden = self.embeddings(pixels, self.encoder.under("embeddings"))
        for layer in range(self.config.depth):
            with graph.scope(f"layers.{layer}"):
                hidden = self.layer(hidden, self.encoder.under(f"encoder.layers.{layer}"))
        hidden = self.layer_norm(hidden, self.encoder.under("post_layernorm"))
        with graph.scope("connector"):
            return self.connected(hidden)

    def embeddings(self, pixels: ir.Value, weights: Weights) -> ir.Value:
        """Patches and their positions, f32 [tiles, patches, hidden].

        A convolution whose stride is its kernel is a linear layer on each patch.
        """
        graph, config = self.graph, self.config
        count, patch, channels = config.patches, config.patch, config.channels
        if config.tile % patch:
            end, axes = graph.constant([count * patch] * 2), graph.constant([2, 3])
            pixels = graph.op("Slice", pixels, graph.constant([0, 0]), end, axes)
        split = graph.constant([0, channels, count, patch, count, patch])
        patches = graph.op("Transpose", graph.op("Reshape", pixels, split), perm=[0, 2, 4, 1, 3, 5])
        values = channels * patch**2
        patches = graph.op("Reshape", patches, graph.constant([0, count**2, values]))
        kernel = weights.get(
            "patch_embedding.weight", config.hidden, channels, patch, patch
        ).reshaped(config.hidden, values)
        hidden = self.storage.linear(graph, patches, kernel)
        bias = weights.get("patch_embedding.bias", config.hidden)
        hidden = graph.op("Add", hidden, self.storage.tensor(graph, bias))
        return graph.op("Add", hidden, self.positions(weights))

    def positions(self, weights: Weights) -> ir.Value:
        """The learned position of each patch of a tile, f32 [patches, hidden]."""
        graph, config = self.graph, self.config
        table = weights.get("position_embedding.weight", config.table**2, config.hidden)
        stored = self.storage.tensor(graph, table)
        if config.positions == tuple(range(config.table**2)):
            return stored
        return graph.op("Gather", stored, graph.constant(config.positions), axis=0)

    def layer(self, hidden: ir.Value, weights: Weights) -> ir.Value:
        graph, config = self.graph, self.config
        normed = self.layer_norm(hidden, weights.under("layer_norm1"))
        hidden = graph.op("Add", hidden, self.attention(normed, weights.under("self_attn")))
        normed = self.layer_norm(hidden, weights.under("layer_norm2"))
        wide = self.linear(normed, weights.under("mlp.fc1"), config.hidden, config.intermediate)
        approximate = "tanh" if config.activation == "gelu_pytorch_tanh" else "none"
        wide = graph.op("Gelu", wide, approximate=approximate)
        narrow = self.linear(wide, weights.under("mlp.fc2"), config.intermediate, config.hidden)
        return graph.op("Add", hidden, narrow)

    def attention(self, normed: ir.Value, weights: Weights) -> ir.Value:
        """Every patch sees all patches of its tile."""
        width = self.config.hidden
        query, key, value = (
            self.linear(normed, weights.under(f"{part}_proj"), width, width) for part in "qkv"
        )
        seen = self.graph.microsoft(
            "MultiHeadAttention", query, key, value, num_heads=self.config.heads
        )
        return self.linear(seen, weights.under("out_proj"), width, width)

    def connected(self, hidden: ir.Value) -> ir.Value:
        """Pixel shuffle: neighbouring patches side by side become one row (of the text's width).

        Idefics3, arXiv 2408.12637, section 2.2.1.
        """
        graph, config = self.graph, self.config
        across, side = config.patches // config.shuffle, config.shuffle
        split = graph.constant([0, across, side, across, side, config.hidden])
        blocks = graph.op("Transpose", graph.op("Reshape", hidden, split), perm=[0, 1, 3, 2, 4, 5])
        width = config.hidden * side**2
        joined = graph.op("Reshape", blocks, graph.constant([-1, width]))
        projection = self.connector.under("modality_projection.proj")
        return linear(
            graph, self.storage, joined, projection, width, config.out_hidden, biased=False
        )

    def linear(self, x: ir.Value, weights: Weights, inputs: int, outputs: int) -> ir.Value:
        return linear(self.graph, self.storage, x, weights, inputs, outputs, biased=True)

    def layer_norm(self, x: ir.Value, weights: Weights) -> ir.Value:
        width = self.config.hidden
        return self.graph.op(
            "LayerNormalization",
            x,
            self.storage.tensor(self.graph, weights.get("weight", width)),
            self.storage.tensor(self.graph, weights.get("bias", width)),
            axis=-1,
            epsilon=self.config.epsilon,
        )
