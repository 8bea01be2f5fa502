"""The decoder's graph, after Qwen3VLTextModel of transformers 5.23.

The KV cache is shared: the caller binds one buffer as `past_key_values.{i}` and `present.{i}`,
long enough for the whole sequence, and new keys and values are written in place.

How many tokens are present
    Row b of `attention_mask` sums to the tokens of row b after this call: those already in the
    cache and those of this call. Only the sums count, not where the zeros are. A sum below S is
    taken as S, so that no row of a batch can reach outside of its buffer.
Which calls are possible (limits of GroupQueryAttention on a CPU)
    - Nothing in the cache yet, `total` == S: any B. Rows may be padded on the right: attention is
      causal, so a row's own tokens never see its padding. Take its logits by `logit_index`; the
      cache past its length holds padding, which the row's next tokens overwrite.
    - Something in the cache, one row (B == 1): any S. This is chunked prefill and a later turn.
    - Something in the cache, several rows: S == 1, each row as long as its own sum says.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from triptych.export.builder import FLOAT, INT32, INT64, MICROSOFT, Axes, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.precision import Precision
from triptych.export.qwen3_vl.config import TextConfig
from triptych.export.qwen3_vl.rotary import Rotary, inverse_frequencies
from triptych.export.qwen3_vl.weights import Weights


def decoder(
    config: TextConfig, weights: Weights, head: Weight, precision: Precision, *, deepstack: int
) -> ir.Model:
    """The graph of a whole decoder; `head` is [V, H], `deepstack` is K.

    In: `inputs_embeds` f32 [B, S, H], `attention_mask` i64 [B, total], `position_ids` i64
    [3, B, S], `deepstack_embeds` f32 [K, B, S, H] (an axis B or S may be 1),
    `logit_index` i64 [B, R], `past_key_values.{i}.key` and `.value` f32
    [B, kv heads, max_len, head].
    Out: `logits` f32 [B, R, V], `present.{i}.key` and `.value`.
    """
    return _DecoderGraph(config, weights, head, precision, deepstack).build()


class _DecoderGraph:
    def __init__(
        self,
        config: TextConfig,
        weights: Weights,
        head: Weight,
        precision: Precision,
        deepstack: int,
    ) -> None:
        self.config, self.weights, self.head, self.precision = config, weights, head, precision
        self.deepstack = deepstack
        self.graph = graph = GraphBuilder("decoder")
        self.embeds = graph.input("inputs_embeds", FLOAT, ["B", "S", config.hidden])
        self.mask = graph.input("attention_mask", INT64, ["B", "total"])
        self.positions = graph.input("position_ids", INT64, [3, "B", "S"])
        self.visual = graph.input("deepstack_embeds", FLOAT, [deepstack, "B", "S", config.hidden])
        self.wanted = graph.input("logit_index", INT64, ["B", "R"])
        self.cache_axes: Axes = ["B", config.kv_heads, "max_len", config.head]
        self.past = [
            graph.input(f"past_key_values.{layer}.{part}", FLOAT, self.cache_axes)
            for layer in range(config.layers)
            for part in ("key", "value")
        ]

    def build(self) -> ir.Model:
        graph, config = self.graph, self.config
        with graph.scope("lengths"):
            self.ends, self.total = self.lengths()
        with graph.scope("rotary"):
            self.rotary = self.rotary_angles()
        with graph.scope("deepstack"):
            self.wanted_rows = graph.op("Unsqueeze", self.wanted, graph.constant([2]))
            visual = self.visual_rows()
        presents: list[ir.Value] = []
        residual = self.embeds
        normed = self.first_norm(residual)
        for layer in range(config.layers):
            weights = self.weights.under(f"layers.{layer}")
            last = layer == config.layers - 1
            with graph.scope(f"layers.{layer}"):
                attended, *present = self.attention(normed, weights.under("self_attn"), layer)
                presents.extend(present)
                if last:
                    # What follows only serves the logits, so only their rows go on.
                    residual, attended = self.pick(residual), self.pick(attended)
                attended = self.linear(
                    attended,
                    weights.under("self_attn.o_proj"),
                    config.heads * config.head,
                    config.hidden,
                    biased=config.attention_bias,
                )
                normed, residual = self.skip_norm(
                    residual, attended, weights.under("post_attention_layernorm")
                )
                delta = self.mlp(normed, weights.under("mlp"))
                if layer < len(visual):
                    delta = graph.op(
                        "Add", delta, self.pick(visual[layer]) if last else visual[layer]
                    )
                following = self.weights.under(
                    "norm" if last else f"layers.{layer + 1}.input_layernorm"
                )
                normed, residual = self.skip_norm(residual, delta, following)
        with graph.scope("lm_head"):
            logits = self.precision.scores(graph, normed, self.head)
        graph.output("logits", logits, FLOAT, ["B", "R", config.vocabulary])
        for past, present_value in zip(self.past, presents, strict=True):
            name = (past.name or "").replace("past_key_values", "present")
            graph.output(name, present_value, FLOAT, self.cache_axes)
        return graph.model()

    def lengths(self) -> tuple[ir.Value, ir.Value]:
        """Each row's last index (i32 [B]) and the longest row's length (i32 scalar)."""
        graph = self.graph
        sums = graph.op("ReduceSum", self.mask, graph.constant([1]), keepdims=0)
        new = graph.op("Shape", self.embeds, start=1, end=2)
        last = graph.op("Sub", graph.op("Max", sums, new), graph.constant(1))
        longest = graph.op("Gather", graph.op("Shape", self.mask), graph.constant(1))
        return graph.op("Cast", last, to=INT32), graph.op("Cast", longest, to=INT32)

    def rotary_angles(self) -> Rotary:
        """Interleaved MRoPE: every frequency turns by one of the three positions of a token."""
        graph, config = self.graph, self.config
        frequencies = inverse_frequencies(config.rope_theta, config.head)
        axes = interleaved_axes(config.mrope_section, len(frequencies))
        places = graph.op("Cast", self.positions, to=FLOAT)
        places = graph.op(
            "Transpose", graph.op("Gather", places, graph.constant(axes), axis=0), perm=[1, 2, 0]
        )
        angles = graph.op("Mul", places, graph.constant(frequencies, np.float32))
        shape = graph.op("Shape", self.positions, start=1)
        tokens = graph.op("ReduceProd", shape, keepdims=0)
        rows = graph.op("Range", graph.constant(0), tokens, graph.constant(1))
        return Rotary(
            graph,
            graph.op("Reshape", angles, graph.constant([-1, len(frequencies)])),
            graph.op("Reshape", rows, shape),
        )

    def visual_rows(self) -> list[ir.Value]:
        """What DeepStack adds after each of the first K layers, f32 [B, S, H] each.

        Zeros of one token stand for all: they are spread out here, because ONNX Runtime plans
        buffers by the axes' letters and may give a later tensor the room of a smaller one.
        """
        graph = self.graph
        count = min(self.deepstack, self.config.layers)
        if count == 0:
            return []
        shape = graph.op(
            "Concat", graph.constant([self.deepstack]), graph.op("Shape", self.embeds), axis=0
        )
        spread = graph.op("Expand", self.visual, shape)
        return [graph.op("Gather", spread, graph.constant(layer), axis=0) for layer in range(count)]

    def attention(self, normed: ir.Value, weights: Weights, layer: int) -> tuple[ir.Value, ...]:
        """Self-attention up to before o_proj, and the layer's present key and value."""
        config = self.config
        widths = {"q": config.heads, "k": config.kv_heads, "v": config.kv_heads}
        query, key, value = (
            self.linear(
                normed,
                weights.under(f"{part}_proj"),
                config.hidden,
                heads * config.head,
                biased=config.attention_bias,
            )
            for part, heads in widths.items()
        )
        query = self.head_norm(query, weights.get("q_norm.weight", config.head), config.heads)
        key = self.head_norm(key, weights.get("k_norm.weight", config.head), config.kv_heads)
        return tuple(
            self.graph.ops(
                "GroupQueryAttention",
                self.rotary(self.graph, query, config.heads),
                self.rotary(self.graph, key, config.kv_heads),
                value,
                self.past[2 * layer],
                self.past[2 * layer + 1],
                self.ends,
                self.total,
                outputs=3,
                domain=MICROSOFT,
                num_heads=config.heads,
                kv_num_heads=config.kv_heads,
            )
        )

    def head_norm(self, x: ir.Value, scale: Weight, heads: int) -> ir.Value:
        """RMS norm of each head by itself, x f32 [B, S, heads * head]."""
        graph, head = self.graph, self.config.head
        apart = graph.op("Reshape", x, graph.constant([0, 0, heads, head]))
        normed = self.rms_norm(apart, scale)
        return graph.op("Reshape", normed, graph.constant([0, 0, heads * head]))

    def mlp(self, normed: ir.Value, weights: Weights) -> ir.Value:
        graph, narrow, wide = self.graph, self.config.hidden, self.config.intermediate
        gate = self.linear(normed, weights.under("gate_proj"), narrow, wide)
        up = self.linear(normed, weights.under("up_proj"), narrow, wide)
        active = graph.op("Mul", gate, graph.op("Sigmoid", gate))
        return self.linear(graph.op("Mul", active, up), weights.under("down_proj"), wide, narrow)

    def first_norm(self, x: ir.Value) -> ir.Value:
        scale = self.weights.get("layers.0.input_layernorm.weight", self.config.hidden)
        return self.rms_norm(x, scale)

    def rms_norm(self, x: ir.Value, scale: Weight) -> ir.Value:
        return self.graph.op(
            "SimplifiedLayerNormalization",
            x,
            self.precision.tensor(self.graph, scale),
            axis=-1,
            epsilon=self.config.epsilon,
            stash_type=1,
        )

    def skip_norm(
        self, x: ir.Value, delta: ir.Value, weights: Weights
    ) -> tuple[ir.Value, ir.Value]:
        """The RMS norm of x + delta, and x + delta itself."""
        normed, _, _, total = self.graph.ops(
            "SkipSimplifiedLayerNormalization",
            x,
            delta,
            self.precision.tensor(self.graph, weights.get("weight", self.config.hidden)),
            outputs=4,
            domain=MICROSOFT,
            epsilon=self.config.epsilon,
        )
        return normed, total

    def pick(self, rows: ir.Value) -> ir.Value:
        """The wanted rows of each sequence: [B, S, width] becomes [B, R, width]."""
        return self.graph.op("GatherND", rows, self.wanted_rows, batch_dims=1)

    def linear(
        self, x: ir.Value, weights: Weights, inputs: int, outputs: int, *, biased: bool = False
    ) -> ir.Value:
        product = self.precision.linear(self.graph, x, weights.get("weight", outputs, inputs))
        if not biased:
            return product
        return self.graph.op(
            "Add", product, self.precision.tensor(self.graph, weights.get("bias", outputs))
        )


def interleaved_axes(section: tuple[int, int, int], frequencies: int) -> list[int]:
    """Which position (0 time, 1 height, 2 width) turns each frequency.

    Height and width take every third one, as often as their sections say; time has the rest.
    """
    axes = [0] * frequencies
    for axis in (1, 2):
        for frequency in range(axis, min(3 * section[axis], frequencies), 3):
            axes[frequency] = axis
    return axes
