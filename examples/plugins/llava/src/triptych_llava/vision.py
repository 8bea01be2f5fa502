"""The vision encoder's graph: CLIP up to one of its last layers, and LLaVA's projector."""

import numpy as np

from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.graphs.linear import linear


def vision_encoder(tower, weights, projector, hidden, precision):
    """`pixel_values` f32 [images, channels, side, side] -> `image_features` f32 [N, hidden]."""
    graph = GraphBuilder("vision_encoder")
    axes = ["images", tower.channels, tower.side, tower.side]
    pixels = graph.input("pixel_values", FLOAT, axes)
    clip = _Clip(graph, tower, precision.part("vision"))
    features = clip.features(pixels, weights)
    for name, inputs in (("linear_1", tower.hidden), ("linear_2", hidden)):
        if name == "linear_2":
            features = graph.op("Gelu", features)
        features = clip.linear(features, projector.under(name), inputs, hidden)
    rows = graph.op("Reshape", features, graph.constant([-1, hidden]))
    graph.output("image_features", rows, FLOAT, ["N", hidden])
    return graph.model()


class _Clip:
    """What becomes of pictures, each by itself."""

    def __init__(self, graph, tower, storage):
        self.graph, self.tower, self.storage = graph, tower, storage

    def features(self, pixels, weights):
        """f32 [images, patches, hidden]: a layer's output, without the class token's row."""
        graph = self.graph
        hidden = self.embeddings(pixels, weights.under("embeddings"))
        hidden = self.norm(hidden, weights.under("pre_layrnorm"))
        for index in range(self.tower.depth):
            with graph.scope(f"layers.{index}"):
                hidden = self.layer(hidden, weights.under(f"encoder.layers.{index}"))
        begin, end, axis = graph.constant([1]), graph.constant([2**31]), graph.constant([1])
        return graph.op("Slice", hidden, begin, end, axis)

    def embeddings(self, pixels, weights):
        """The class token, then the patches in raster order, with their places."""
        graph, tower = self.graph, self.tower
        count, patch, channels = tower.patches, tower.patch, tower.channels
        used = graph.constant([count * patch] * 2)
        pixels = graph.op("Slice", pixels, graph.constant([0, 0]), used, graph.constant([2, 3]))
        split = graph.constant([0, channels, count, patch, count, patch])
        cells = graph.op("Transpose", graph.op("Reshape", pixels, split), perm=[0, 2, 4, 1, 3, 5])
        values = channels * patch**2
        rows = graph.op("Reshape", cells, graph.constant([0, count**2, values]))
        kernel = weights.get("patch_embedding.weight", tower.hidden, channels, patch, patch)
        rows = self.storage.linear(graph, rows, kernel.reshaped(tower.hidden, values))
        token = self.tensor(
            weights.get("class_embedding", tower.hidden).reshaped(1, 1, tower.hidden)
        )
        images = graph.op("Shape", pixels, start=0, end=1)
        each = graph.op("Concat", images, graph.constant([1, tower.hidden]), axis=0)
        rows = graph.op("Concat", graph.op("Expand", token, each), rows, axis=1)
        places = weights.get("position_embedding.weight", count**2 + 1, tower.hidden)
        return graph.op("Add", rows, self.tensor(places))

    def layer(self, hidden, weights):
        """Attention over the picture, then two layers with quick GELU between."""
        graph, tower = self.graph, self.tower
        normed = self.norm(hidden, weights.under("layer_norm1"))
        width, own = tower.hidden, weights.under("self_attn")
        parts = [self.linear(normed, own.under(f"{part}_proj"), width, width) for part in "qkv"]
        seen = graph.microsoft("MultiHeadAttention", *parts, num_heads=tower.heads)
        seen = self.linear(seen, own.under("out_proj"), width, width)
        hidden = graph.op("Add", hidden, seen)
        normed = self.norm(hidden, weights.under("layer_norm2"))
        wide = self.linear(normed, weights.under("mlp.fc1"), width, tower.intermediate)
        gate = graph.op("Sigmoid", graph.op("Mul", wide, graph.constant(1.702, np.float32)))
        wide = graph.op("Mul", wide, gate)
        narrow = self.linear(wide, weights.under("mlp.fc2"), tower.intermediate, width)
        return graph.op("Add", hidden, narrow)

    def linear(self, x, weights, inputs, outputs):
        return linear(self.graph, self.storage, x, weights, inputs, outputs, biased=True)

    def tensor(self, weight):
        return self.storage.tensor(self.graph, weight)

    def norm(self, x, weights):
        width = self.tower.hidden
        scale, shift = weights.get("weight", width), weights.get("bias", width)
        return self.graph.op(
            "LayerNormalization",
            x,
            self.tensor(scale),
            self.tensor(shift),
            axis=-1,
            epsilon=self.tower.epsilon,
        )
