"""The decoder's graph, one for all families: see `DecoderShape` for what may differ.

Computes what Qwen3VLTextModel, Qwen2Model and LlamaModel of transformers 5.23 do.

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

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir

from triptych.export.builder import FLOAT, INT32, INT64, MICROSOFT, Axes, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.graphs.diagnostics import AttentionRows
from triptych.export.graphs.feed_forward import FeedForward, SwiGLU
from triptych.export.graphs.linear import linear, linears
from triptych.export.graphs.rotary import Rotary
from triptych.export.graphs.shape import DecoderShape
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Precision, Storage


def decoder(
    shape: DecoderShape,
    weights: Weights,
    head: Weight,
    precision: Precision,
    *,
    feed_forward: FeedForward | None = None,
) -> ir.Model:
    """The graph of a whole decoder; `head` is [V, H]; `feed_forward` is SwiGLU by default.

    In: `inputs_embeds` f32 [B, S, H], `attention_mask` i64 [B, total], `position_ids` i64
    [3, B, S] or [B, S], `deepstack_embeds` f32 [K, B, S, H] (if any; an axis B or S may be 1),
    `logit_index` i64 [B, R], `past_key_values.{i}.key` and `.value` f32
    [B, kv heads, max_len, head].
    Out: `logits` f32 [B, R, V], `present.{i}.key` and `.value`.
    """
    feed_forward = feed_forward or SwiGLU(shape, precision)
    return _DecoderGraph(shape, weights, head, precision, feed_forward).build()


class _DecoderGraph:
    def __init__(
        self,
        shape: DecoderShape,
        weights: Weights,
        head: Weight,
        precision: Precision,
        feed_forward: FeedForward,
    ) -> None:
        self.shape, self.weights, self.head = shape, weights, head
        self.attention_storage = precision.part("attention")
        self.mlp_storage, self.head_storage = precision.part("mlp"), precision.part("head")
        self.feed_forward = feed_forward
        self.graph = graph = GraphBuilder("decoder")
        self.embeds = graph.input("inputs_embeds", FLOAT, ["B", "S", shape.hidden])
        self.mask = graph.input("attention_mask", INT64, ["B", "total"])
        places: Axes = ["B", "S"] if shape.rotary.axes is None else [3, "B", "S"]
        self.positions = graph.input("position_ids", INT64, places)
        if shape.deepstack is not None:
            axes: Axes = [shape.deepstack, "B", "S", shape.hidden]
            self.visual = graph.input("deepstack_embeds", FLOAT, axes)
        self.wanted = graph.input("logit_index", INT64, ["B", "R"])
        self.cache_axes: Axes = ["B", shape.kv_heads, "max_len", shape.head]
        self.past = [
            graph.input(f"past_key_values.{layer}.{part}", FLOAT, self.cache_axes)
            for layer in range(shape.layers)
            for part in ("key", "value")
        ]

    def build(self) -> ir.Model:
        graph, shape = self.graph, self.shape
        with graph.scope("lengths"):
            self.ends, self.total = self.lengths()
        self.attention_rows = AttentionRows(graph, shape, self.mask, self.ends)
        with graph.scope("rotary"):
            self.rotary = self.rotary_angles()
        with graph.scope("deepstack"):
            self.wanted_rows = graph.op("Unsqueeze", self.wanted, graph.constant([2]))
            visual = self.visual_rows()
        hiddens: list[ir.Value] = []
        picked: dict[ir.Value, ir.Value] = {}
        presents: list[ir.Value] = []
        residual = self.embeds
        normed = self.first_norm(residual)
        for layer in range(shape.layers):
            weights = self.weights.under(f"layers.{layer}")
            last = layer == shape.layers - 1
            with graph.scope(f"layers.{layer}"):
                attended, *present = self.attention(normed, weights.under("self_attn"), layer)
                presents.extend(present)
                if last:
                    # What follows only serves the logits, so only their rows go on.
                    whole, rows = (residual, attended), (self.pick(residual), self.pick(attended))
                    residual, attended = rows
                    picked = dict(zip(rows, whole, strict=True))
                attended = linear(
                    graph,
                    self.attention_storage,
                    attended,
                    weights.under("self_attn.o_proj"),
                    shape.heads * shape.head,
                    shape.hidden,
                    biased=shape.out_bias,
                )
                normed, residual = self.skip_norm(
                    residual, attended, weights.under("post_attention_layernorm"), self.mlp_storage
                )
                delta = self.feed_forward(graph, normed, weights.under("mlp"), layer)
                if layer < len(visual):
                    added = self.pick(visual[layer]) if last else visual[layer]
                    picked |= {added: visual[layer]} if last else {}
                    delta = graph.op("Add", delta, added)
                following = self.weights.under(
                    "norm" if last else f"layers.{layer + 1}.input_layernorm"
                )
                normed, residual = self.skip_norm(
                    residual, delta, following, self.attention_storage
                )
            hiddens.append(residual)
        with graph.scope("lm_head"):
            logits = self.head_storage.scores(graph, normed, self.head)
        self.offer(hiddens, picked, normed, logits)
        graph.output("logits", logits, FLOAT, ["B", "R", shape.vocabulary])
        for past, present_value in zip(self.past, presents, strict=True):
            name = (past.name or "").replace("past_key_values", "present")
            graph.output(name, present_value, FLOAT, self.cache_axes)
        return graph.model()

    def offer(
        self,
        hiddens: list[ir.Value],
        picked: Mapping[ir.Value, ir.Value],
        normed: ir.Value,
        logits: ir.Value,
    ) -> None:
        """`hidden.{i}`: what layer i leaves, DeepStack added, before any norm.

        `early_logits.{i}`: the final norm and the head over that, for the wanted rows. picked: in
        the last layer, the wanted rows of values by these rows.
        """
        graph, shape = self.graph, self.shape
        last = hiddens.pop()

        def early(hidden: ir.Value) -> ir.Value:
            scale = self.weights.get("norm.weight", shape.hidden)
            return graph.again(logits, {normed: self.rms_norm(self.pick(hidden), scale)})

        for layer, hidden in enumerate(hiddens):
            graph.offer(f"hidden.{layer}", partial(_same, hidden), ["B", "S", shape.hidden])
            graph.offer(
                f"early_logits.{layer}", partial(early, hidden), ["B", "R", shape.vocabulary]
            )
        graph.offer(
            f"hidden.{len(hiddens)}",
            lambda: graph.again(last, picked),
            ["B", "S", shape.hidden],
        )

    def lengths(self) -> tuple[ir.Value, ir.Value]:
        """Each row's last index (i32 [B]) and the longest row's length (i32 scalar)."""
        graph = self.graph
        sums = graph.op("ReduceSum", self.mask, graph.constant([1]), keepdims=0)
        new = graph.op("Shape", self.embeds, start=1, end=2)
        last = graph.op("Sub", graph.op("Max", sums, new), graph.constant(1))
        longest = graph.op("Gather", graph.op("Shape", self.mask), graph.constant(1))
        return graph.op("Cast", last, to=INT32), graph.op("Cast", longest, to=INT32)

    def rotary_angles(self) -> Rotary:
        """Every frequency turns by the token's position, or by one of its three."""
        graph, plan = self.graph, self.shape.rotary
        places = graph.op("Cast", self.positions, to=FLOAT)
        if plan.axes is None:
            places = graph.op("Unsqueeze", places, graph.constant([2]))
            shape = graph.op("Shape", self.positions)
        else:
            places = graph.op("Gather", places, graph.constant(plan.axes), axis=0)
            places = graph.op("Transpose", places, perm=[1, 2, 0])
            shape = graph.op("Shape", self.positions, start=1)
        angles = graph.op("Mul", places, graph.constant(plan.frequencies, np.float32))
        tokens = graph.op("ReduceProd", shape, keepdims=0)
        rows = graph.op("Range", graph.constant(0), tokens, graph.constant(1))
        return Rotary(
            graph,
            graph.op("Reshape", angles, graph.constant([-1, len(plan.frequencies)])),
            graph.op("Reshape", rows, shape),
            scaling=plan.scaling,
        )

    def visual_rows(self) -> list[ir.Value]:
        """What DeepStack adds after each of the first K layers, f32 [B, S, H] each.

        Zeros of one token stand for all: they are spread out here, because ONNX Runtime plans
        buffers by the axes' letters and may give a later tensor the room of a smaller one.
        """
        graph, deepstack = self.graph, self.shape.deepstack or 0
        count = min(deepstack, self.shape.layers)
        if count == 0:
            return []
        shape = graph.op(
            "Concat", graph.constant([deepstack]), graph.op("Shape", self.embeds), axis=0
        )
        spread = graph.op("Expand", self.visual, shape)
        return [graph.op("Gather", spread, graph.constant(layer), axis=0) for layer in range(count)]

    def attention(self, normed: ir.Value, weights: Weights, layer: int) -> tuple[ir.Value, ...]:
        """Self-attention up to before o_proj, and the layer's present key and value."""
        shape = self.shape
        heads = {"q": shape.heads, "k": shape.kv_heads, "v": shape.kv_heads}
        query, key, value = linears(
            self.graph,
            self.attention_storage,
            normed,
            weights,
            shape.hidden,
            {f"{part}_proj": count * shape.head for part, count in heads.items()},
            biased=shape.qkv_bias,
        )
        if shape.head_norms:
            query = self.head_norm(query, weights.get("q_norm.weight", shape.head), shape.heads)
            key = self.head_norm(key, weights.get("k_norm.weight", shape.head), shape.kv_heads)
        window = {"local_window_size": shape.windows[layer]} if layer in shape.windows else {}
        query = self.rotary(self.graph, query, shape.heads)
        outputs = tuple(
            self.graph.ops(
                "GroupQueryAttention",
                query,
                self.rotary(self.graph, key, shape.kv_heads),
                value,
                self.past[2 * layer],
                self.past[2 * layer + 1],
                self.ends,
                self.total,
                outputs=3,
                domain=MICROSOFT,
                num_heads=shape.heads,
                kv_num_heads=shape.kv_heads,
                **window,
            )
        )
        self.graph.offer(
            f"attention.{layer}",
            partial(self.attention_rows, query, outputs[1], window=shape.windows.get(layer)),
            ["B", shape.heads, "S", "total"],
        )
        return outputs

    def head_norm(self, x: ir.Value, scale: Weight, heads: int) -> ir.Value:
        """RMS norm of each head by itself, x f32 [B, S, heads * head]."""
        graph, head = self.graph, self.shape.head
        apart = graph.op("Reshape", x, graph.constant([0, 0, heads, head]))
        normed = self.rms_norm(apart, scale)
        return graph.op("Reshape", normed, graph.constant([0, 0, heads * head]))

    def first_norm(self, x: ir.Value) -> ir.Value:
        scale = self.weights.get("layers.0.input_layernorm.weight", self.shape.hidden)
        return self.rms_norm(x, scale)

    def rms_norm(self, x: ir.Value, scale: Weight) -> ir.Value:
        return self.graph.op(
            "SimplifiedLayerNormalization",
            x,
            self.attention_storage.tensor(self.graph, scale),
            axis=-1,
            epsilon=self.shape.epsilon,
            stash_type=1,
        )

    def skip_norm(
        self, x: ir.Value, delta: ir.Value, weights: Weights, storage: Storage
    ) -> tuple[ir.Value, ir.Value]:
        """The RMS norm of x + delta, and x + delta itself."""
        normed, _, _, total = self.graph.ops(
            "SkipSimplifiedLayerNormalization",
            x,
            delta,
            storage.tensor(self.graph, weights.get("weight", self.shape.hidden)),
            outputs=4,
            domain=MICROSOFT,
            epsilon=self.shape.epsilon,
        )
        return normed, total

    def pick(self, rows: ir.Value) -> ir.Value:
        """The wanted rows of each sequence: [B, S, width] becomes [B, R, width]."""
        return self.graph.op("GatherND", rows, self.wanted_rows, batch_dims=1)


def _same(value: ir.Value) -> ir.Value:
    return value
