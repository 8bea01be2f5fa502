"""Tiny checkpoints of Qwen3-VL with experts, laid out as the published ones are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.export.checkpoints import Array, Maker, TinyShape


@dataclass(frozen=True)
class TinyMoeShape(TinyShape):
    """The sizes of a tiny Qwen3-VL-MoE; the names follow its config.json."""

    tied: bool = False
    experts: int = 8
    chosen: int = 2
    inner: int = 96
    sparse_step: int = 1
    dense_layers: tuple[int, ...] = ()
    norm_topk_prob: bool = True

    def tensors(self, random: np.random.Generator) -> Iterator[tuple[str, Array]]:
        return MoeMaker(self, random).all()

    def sparse(self, layer: int) -> bool:
        """Whether a layer has experts, as transformers decides it."""
        return layer not in self.dense_layers and (layer + 1) % self.sparse_step == 0

    def config(self) -> dict[str, Any]:
        config = super().config()
        config["architectures"] = ["Qwen3VLMoeForConditionalGeneration"]
        config["model_type"] = "qwen3_vl_moe"
        config["vision_config"]["model_type"] = "qwen3_vl_moe"
        config["text_config"] |= {
            "model_type": "qwen3_vl_moe_text",
            "num_experts": self.experts,
            "num_experts_per_tok": self.chosen,
            "moe_intermediate_size": self.inner,
            "decoder_sparse_step": self.sparse_step,
            "mlp_only_layers": list(self.dense_layers),
            "norm_topk_prob": self.norm_topk_prob,
        }
        return config


class MoeMaker(Maker):
    """Experts in two tensors a layer, each matrix transposed, as they are published."""

    _shape: TinyMoeShape

    def feed_forward(self, root: str, layer: int) -> Iterator[tuple[str, Array]]:
        shape = self._shape
        if not shape.sparse(layer):
            yield from super().feed_forward(root, layer)
            return
        wide, narrow = shape.inner, shape.hidden
        # Scores that differ by about 2 make some experts matter more than others.
        router = self.normal(shape.experts, narrow, scale=2 * narrow**-0.5)
        yield f"{root}.gate.weight", router
        both = self.normal(shape.experts, narrow, 2 * wide, scale=narrow**-0.5)
        yield f"{root}.experts.gate_up_proj", both
        down = self.normal(shape.experts, wide, narrow, scale=2 * wide**-0.5)
        yield f"{root}.experts.down_proj", down


# Different numbers of experts and of chosen ones, layers without experts, tied and untied.
MOE_SHAPES = {
    "two of eight experts": TinyMoeShape(),
    "one of five, every other layer, tied": TinyMoeShape(
        tied=True,
        layers=5,
        heads=3,
        kv_heads=1,
        head=32,
        mrope_section=(6, 5, 5),
        rope_theta=5_000_000.0,
        vision_depth=5,
        vision_heads=4,
        deepstack=(0, 2, 4),
        experts=5,
        chosen=1,
        inner=48,
        sparse_step=2,
    ),
    "all of four, two dense layers, biased": TinyMoeShape(
        layers=4,
        heads=2,
        kv_heads=2,
        head=24,
        hidden=40,
        intermediate=56,
        mrope_section=(6, 3, 3),
        attention_bias=True,
        vision_depth=3,
        vision_hidden=48,
        vision_heads=3,
        deepstack=(2,),
        experts=4,
        chosen=4,
        inner=24,
        dense_layers=(0, 2),
        norm_topk_prob=False,
    ),
    "six of thirty-two, the last layer dense": TinyMoeShape(
        vocabulary=130,
        heads=8,
        kv_heads=4,
        head=8,
        mrope_section=(2, 1, 1),
        vision_depth=3,
        deepstack=(0, 1, 2),
        experts=32,
        chosen=6,
        dense_layers=(2,),
    ),
}
