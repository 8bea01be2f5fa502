"""Tiny checkpoints with the layout of published ones and random weights.

Written with numpy alone, so that a test needs neither torch nor a download. The weights are
scaled like trained ones (unit-sized activations), so that a lost DeepStack layer or a wrong
rotation shows in the logits.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Array = np.ndarray[Any, Any]

# Ids of the special tokens, the last ones of the vocabulary (as `TinyShape.vocabulary` ends).
SPECIAL_TOKENS = ("image", "video", "vision_start", "vision_end", "eos")


@dataclass(frozen=True)
class TinyShape:
    """The sizes of a tiny Qwen3-VL; the names follow its config.json."""

    vocabulary: int = 96
    hidden: int = 64
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    head: int = 16
    intermediate: int = 96
    mrope_section: tuple[int, int, int] = (4, 2, 2)
    rope_theta: float = 10_000.0
    max_positions: int = 4096
    tied: bool = True
    attention_bias: bool = False
    vision_depth: int = 4
    vision_hidden: int = 32
    vision_heads: int = 2
    vision_intermediate: int = 48
    positions: int = 36
    deepstack: tuple[int, ...] = (1, 2)

    def token(self, name: str) -> int:
        """The id of one of SPECIAL_TOKENS."""
        return self.vocabulary - len(SPECIAL_TOKENS) + SPECIAL_TOKENS.index(name)

    def tensors(self, random: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """The named weights, in any order."""
        return Maker(self, random).all()

    def config(self) -> dict[str, Any]:
        return {
            "architectures": ["Qwen3VLForConditionalGeneration"],
            "model_type": "qwen3_vl",
            "tie_word_embeddings": self.tied,
            "image_token_id": self.token("image"),
            "video_token_id": self.token("video"),
            "vision_start_token_id": self.token("vision_start"),
            "vision_end_token_id": self.token("vision_end"),
            "text_config": {
                "model_type": "qwen3_vl_text",
                "vocab_size": self.vocabulary,
                "hidden_size": self.hidden,
                "num_hidden_layers": self.layers,
                "num_attention_heads": self.heads,
                "num_key_value_heads": self.kv_heads,
                "head_dim": self.head,
                "intermediate_size": self.intermediate,
                "hidden_act": "silu",
                "rms_norm_eps": 1e-6,
                "attention_bias": self.attention_bias,
                "max_position_embeddings": self.max_positions,
                "eos_token_id": self.token("eos"),
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": self.rope_theta,
                    "mrope_section": list(self.mrope_section),
                    "mrope_interleaved": True,
                },
            },
            "vision_config": {
                "model_type": "qwen3_vl_vision",
                "depth": self.vision_depth,
                "hidden_size": self.vision_hidden,
                "num_heads": self.vision_heads,
                "intermediate_size": self.vision_intermediate,
                "hidden_act": "gelu_pytorch_tanh",
                "in_channels": 3,
                "patch_size": 16,
                "temporal_patch_size": 2,
                "spatial_merge_size": 2,
                "out_hidden_size": self.hidden,
                "num_position_embeddings": self.positions,
                "deepstack_visual_indexes": list(self.deepstack),
            },
        }


# Different depths, head counts, groupings, sections, DeepStack and heads: one of each.
SHAPES = {
    "tied": TinyShape(),
    "untied, one kv head": TinyShape(
        tied=False,
        layers=5,
        heads=3,
        kv_heads=1,
        head=32,
        mrope_section=(6, 5, 5),
        rope_theta=5_000_000.0,
        vision_depth=5,
        vision_heads=4,
        deepstack=(0, 2, 4),
        positions=16,
    ),
    "as many kv heads, biased": TinyShape(
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
        positions=49,
    ),
    "DeepStack on every layer": TinyShape(
        tied=False,
        vocabulary=130,
        layers=3,
        heads=8,
        kv_heads=4,
        head=8,
        mrope_section=(2, 1, 1),
        vision_depth=3,
        deepstack=(0, 1, 2),
        positions=100,
    ),
}


def random_checkpoint(
    folder: Path,
    *,
    shape: TinyShape = SHAPES["tied"],
    seed: int = 0,
    shards: int = 1,
    processor_files: Path | None = None,
    generation_config: dict[str, Any] | None = None,
) -> Path:
    """Writes config.json, the weights and, if given, a processor's files; returns `folder`.

    shards: how many safetensors files; more than one come with an index. processor_files: a
    folder whose files are copied in. generation_config: the contents of that file; by default it
    names the EOS token only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if processor_files is not None:
        shutil.copytree(processor_files, folder, dirs_exist_ok=True)
    generation = {"eos_token_id": shape.token("eos"), **(generation_config or {})}
    _write_json(folder / "generation_config.json", generation)
    _write_json(folder / "config.json", shape.config())
    tensors = dict(shape.tensors(np.random.default_rng(seed)))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = list(tensors)
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = names[number::shards]
        save_file({name: tensors[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return folder


class Maker:
    """Yields named random tensors; the names follow the checkpoint's modules."""

    def __init__(self, shape: TinyShape, random: np.random.Generator) -> None:
        self._shape, self._random = shape, random

    def all(self) -> Iterator[tuple[str, Array]]:
        yield from self.vision("model.visual")
        yield from self.text("model.language_model")
        if not self._shape.tied:
            yield from self.linear(
                "lm_head", self._shape.vocabulary, self._shape.hidden, bias=False
            )

    def vision(self, root: str) -> Iterator[tuple[str, Array]]:
        shape, width = self._shape, self._shape.vision_hidden
        patch = self.normal(width, 3, 2, 16, 16, scale=1536**-0.5)
        yield f"{root}.patch_embed.proj.weight", patch
        yield f"{root}.patch_embed.proj.bias", self.normal(width, scale=0.1)
        yield f"{root}.pos_embed.weight", self.normal(shape.positions, width, scale=1.0)
        for block in range(shape.vision_depth):
            name = f"{root}.blocks.{block}"
            yield from self.norm(f"{name}.norm1", width, bias=True)
            yield from self.norm(f"{name}.norm2", width, bias=True)
            yield from self.linear(f"{name}.attn.qkv", 3 * width, width)
            yield from self.linear(f"{name}.attn.proj", width, width)
            yield from self.linear(f"{name}.mlp.linear_fc1", shape.vision_intermediate, width)
            yield from self.linear(f"{name}.mlp.linear_fc2", width, shape.vision_intermediate)
        yield from self.merger(f"{root}.merger", width)
        for index in range(len(shape.deepstack)):
            yield from self.merger(f"{root}.deepstack_merger_list.{index}", 4 * width)

    def text(self, root: str) -> Iterator[tuple[str, Array]]:
        shape = self._shape
        table = self.normal(shape.vocabulary, shape.hidden, scale=1.0)
        yield f"{root}.embed_tokens.weight", table
        for layer in range(shape.layers):
            yield from self.layer(f"{root}.layers.{layer}")
            yield from self.feed_forward(f"{root}.layers.{layer}.mlp", layer)
        yield from self.norm(f"{root}.norm", shape.hidden, bias=False)

    def layer(self, root: str) -> Iterator[tuple[str, Array]]:
        shape, width = self._shape, self._shape.hidden
        yield from self.norm(f"{root}.input_layernorm", width, bias=False)
        yield from self.norm(f"{root}.post_attention_layernorm", width, bias=False)
        attention, bias = f"{root}.self_attn", shape.attention_bias
        for part, heads in ("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads):
            yield from self.linear(f"{attention}.{part}_proj", heads * shape.head, width, bias=bias)
        yield from self.linear(f"{attention}.o_proj", width, shape.heads * shape.head, bias=bias)
        yield from self.norm(f"{attention}.q_norm", shape.head, bias=False)
        yield from self.norm(f"{attention}.k_norm", shape.head, bias=False)

    def feed_forward(self, root: str, layer: int) -> Iterator[tuple[str, Array]]:
        """That of a layer; all are alike here."""
        del layer
        wide, narrow = self._shape.intermediate, self._shape.hidden
        for part in "gate", "up":
            yield from self.linear(f"{root}.{part}_proj", wide, narrow, bias=False)
        yield from self.linear(f"{root}.down_proj", narrow, wide, bias=False)

    def merger(self, root: str, normed: int) -> Iterator[tuple[str, Array]]:
        joined = 4 * self._shape.vision_hidden
        yield from self.norm(f"{root}.norm", normed, bias=True)
        yield from self.linear(f"{root}.linear_fc1", joined, joined)
        yield from self.linear(f"{root}.linear_fc2", self._shape.hidden, joined)

    def linear(
        self, name: str, outputs: int, inputs: int, *, bias: bool = True
    ) -> Iterator[tuple[str, Array]]:
        yield f"{name}.weight", self.normal(outputs, inputs, scale=inputs**-0.5)
        if bias:
            yield f"{name}.bias", self.normal(outputs, scale=0.1)

    def norm(self, name: str, size: int, *, bias: bool) -> Iterator[tuple[str, Array]]:
        yield f"{name}.weight", self.normal(size, scale=0.2, mean=1.0)
        if bias:
            yield f"{name}.bias", self.normal(size, scale=0.1)

    def normal(self, *sizes: int, scale: float, mean: float = 0.0) -> Array:
        return (mean + scale * self._random.standard_normal(sizes)).astype(np.float32)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
