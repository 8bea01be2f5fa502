"""Tiny text-only checkpoints with random weights, written with numpy alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.conftest import SPECIAL, write_byte_processor

Array = np.ndarray[Any, Any]

# The byte processor's tokens (tests/conftest.py): 256 bytes, then the special ones.
VOCABULARY = 256 + len(SPECIAL)


@dataclass(frozen=True)
class TinyText:
    """The sizes of a tiny decoder. `more`: further keys of its config.json, as they are there."""

    family: str
    hidden: int = 64
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    head: int | None = None
    intermediate: int = 96
    tied: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        architecture = {"qwen3": "Qwen3", "qwen2": "Qwen2", "llama": "Llama"}[self.family]
        head = {} if self.head is None else {"head_dim": self.head}
        return {
            "architectures": [f"{architecture}ForCausalLM"],
            "model_type": self.family,
            "vocab_size": VOCABULARY,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "intermediate_size": self.intermediate,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": self.tied,
            "rope_theta": 10_000.0,
            **head,
            **self.more,
        }


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
WINDOW = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}

# By family: a head size that is given or not; grouped, single and as many kv heads; tied and
# untied; each bias; each rotation.
TEXT_SHAPES = {
    "qwen3, tied": TinyText("qwen3", hidden=48),
    "qwen3, untied, yarn": TinyText(
        "qwen3", head=16, heads=3, kv_heads=1, tied=False, layers=5, more={"rope_scaling": YARN}
    ),
    "qwen3, biased, a window": TinyText(
        "qwen3", head=24, heads=2, kv_heads=2, more={"attention_bias": True, **WINDOW}
    ),
    "qwen2, tied": TinyText("qwen2"),
    "qwen2, untied, yarn": TinyText(
        "qwen2", heads=2, kv_heads=1, tied=False, more={"rope_scaling": YARN}
    ),
    "qwen2, a window": TinyText("qwen2", heads=8, kv_heads=8, layers=4, more=WINDOW),
    "llama, untied": TinyText("llama", tied=False, kv_heads=4),
    "llama, llama3, tied": TinyText("llama", head=32, kv_heads=1, more={"rope_scaling": LLAMA3}),
    "llama, linear, biased": TinyText(
        "llama",
        hidden=48,
        heads=3,
        kv_heads=3,
        tied=False,
        more={
            "rope_scaling": {"type": "linear", "factor": 4.0},
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
}


def text_checkpoint(folder: Path, shape: TinyText, *, seed: int = 0) -> Path:
    """Writes a checkpoint that speaks bytes and never ends by itself; returns `folder`."""
    write_byte_processor(folder)
    for media in folder.glob("*preprocessor_config.json"):
        media.unlink()
    generation = {"eos_token_id": SPECIAL.index("<|im_end|>") + 256, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    (folder / "config.json").write_text(json.dumps(shape.config()))
    tensors = dict(_Maker(shape, np.random.default_rng(seed)).all())
    # Ids that end a reply have a score of zero, which some byte always beats.
    scored = "model.embed_tokens.weight" if shape.tied else "lm_head.weight"
    tensors[scored][256:] = 0
    save_file(tensors, folder / "model.safetensors")
    return folder


class _Maker:
    """Yields named random tensors; the names follow the checkpoint's modules."""

    def __init__(self, shape: TinyText, random: np.random.Generator) -> None:
        self._shape, self._random = shape, random
        attention = bool(shape.more.get("attention_bias"))
        self._qkv_bias = attention or shape.family == "qwen2"
        self._out_bias = attention
        self._mlp_bias = bool(shape.more.get("mlp_bias"))

    def all(self) -> Iterator[tuple[str, Array]]:
        shape = self._shape
        yield "model.embed_tokens.weight", self.normal(VOCABULARY, shape.hidden, scale=1.0)
        for layer in range(shape.layers):
            yield from self.layer(f"model.layers.{layer}")
        yield "model.norm.weight", self.normal(shape.hidden, scale=0.2, mean=1.0)
        if not shape.tied:
            yield from self.linear("lm_head", VOCABULARY, shape.hidden, bias=False)

    def layer(self, root: str) -> Iterator[tuple[str, Array]]:
        shape, width = self._shape, self._shape.hidden
        head = shape.head or (128 if shape.family == "qwen3" else width // shape.heads)
        attention = f"{root}.self_attn"
        for norm in "input_layernorm", "post_attention_layernorm":
            yield f"{root}.{norm}.weight", self.normal(width, scale=0.2, mean=1.0)
        for part, heads in ("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads):
            name = f"{attention}.{part}_proj"
            yield from self.linear(name, heads * head, width, bias=self._qkv_bias)
        name = f"{attention}.o_proj"
        yield from self.linear(name, width, shape.heads * head, bias=self._out_bias)
        if shape.family == "qwen3":
            for part in "qk":
                yield f"{attention}.{part}_norm.weight", self.normal(head, scale=0.2, mean=1.0)
        inner = shape.intermediate
        for part in "gate", "up":
            yield from self.linear(f"{root}.mlp.{part}_proj", inner, width, bias=self._mlp_bias)
        yield from self.linear(f"{root}.mlp.down_proj", width, inner, bias=self._mlp_bias)

    def linear(
        self, name: str, outputs: int, inputs: int, *, bias: bool
    ) -> Iterator[tuple[str, Array]]:
        yield f"{name}.weight", self.normal(outputs, inputs, scale=1.5 * inputs**-0.5)
        if bias:
            yield f"{name}.bias", self.normal(outputs, scale=0.3)

    def normal(self, *sizes: int, scale: float, mean: float = 0.0) -> Array:
        return (mean + scale * self._random.standard_normal(sizes)).astype(np.float32)
