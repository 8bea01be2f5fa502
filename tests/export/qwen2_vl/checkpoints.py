"""Tiny Qwen2-VL and Qwen2.5-VL checkpoints with random weights, written with numpy alone."""

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
PATCH, MERGE = 14, 2


def token(name: str) -> int:
    """The id of a special token of the byte processor."""
    return 256 + SPECIAL.index(f"<|{name}|>")


@dataclass(frozen=True)
class TinyVL:
    """The sizes of a tiny model.

    window, full: pixels of a window's side and the blocks without windows, of a Qwen2.5-VL; None
    for a Qwen2-VL. published: names and config as published, instead of as transformers 5 saves.
    text: further keys of the decoder's config.
    """

    window: int | None = None
    full: tuple[int, ...] = ()
    hidden: int = 64
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 96
    sections: tuple[int, int, int] = (2, 3, 3)
    tied: bool = True
    published: bool = True
    vision_depth: int = 4
    vision_hidden: int = 32
    vision_heads: int = 2
    vision_intermediate: int = 64
    text: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        return "qwen2_vl" if self.window is None else "qwen2_5_vl"

    def config(self) -> dict[str, Any]:
        shared = {
            "architectures": [f"{self.family}ForConditionalGeneration"],
            "model_type": self.family,
            "tie_word_embeddings": self.tied,
            "image_token_id": token("image_pad"),
            "video_token_id": token("video_pad"),
            "vision_start_token_id": token("vision_start"),
            "vision_end_token_id": token("vision_end"),
            "vision_config": self._vision(),
        }
        text = {
            "vocab_size": VOCABULARY,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "intermediate_size": self.intermediate,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "max_position_embeddings": 4096,
            "eos_token_id": token("im_end"),
            "bos_token_id": token("endoftext"),
        }
        section = {"mrope_section": list(self.sections)}
        if self.published:
            rope = {"rope_theta": 1e6, "rope_scaling": {"type": "mrope", **section}}
            return {**shared, **text, **rope, **self.text}
        rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, **section}}
        kind = {"model_type": f"{self.family}_text"}
        return {**shared, "text_config": {**kind, **text, **rope, **self.text}}

    def _vision(self) -> dict[str, Any]:
        shared = {
            "model_type": self.family if self.published else f"{self.family}_vision",
            "depth": self.vision_depth,
            "num_heads": self.vision_heads,
            "in_channels": 3,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
        }
        if self.window is None:
            return {
                **shared,
                "embed_dim": self.vision_hidden,
                "hidden_size": self.hidden,
                "hidden_act": "quick_gelu",
                "mlp_ratio": self.vision_intermediate // self.vision_hidden,
            }
        return {
            **shared,
            "hidden_size": self.vision_hidden,
            "hidden_act": "silu",
            "intermediate_size": self.vision_intermediate,
            "out_hidden_size": self.hidden,
            "window_size": self.window,
            "fullatt_block_indexes": list(self.full),
            "tokens_per_second": 2,
        }


# Windows of 8, 4 and 6 patches a side; different depths, head counts, sections and names.
VL_SHAPES = {
    "Qwen2-VL, tied": TinyVL(),
    "Qwen2-VL, untied, saved anew": TinyVL(
        tied=False,
        published=False,
        heads=3,
        kv_heads=1,
        hidden=96,
        sections=(8, 4, 4),
        vision_depth=3,
        vision_hidden=48,
        vision_heads=3,
        vision_intermediate=192,
    ),
    "Qwen2-VL, a window over text": TinyVL(
        tied=False,
        heads=2,
        kv_heads=2,
        hidden=48,
        sections=(4, 4, 4),
        text={"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    ),
    "Qwen2.5-VL, tied": TinyVL(window=112, full=(1, 3)),
    "Qwen2.5-VL, untied, saved anew": TinyVL(
        window=56,
        full=(2,),
        tied=False,
        published=False,
        heads=8,
        kv_heads=4,
        sections=(2, 1, 1),
        vision_depth=3,
        vision_hidden=48,
        vision_heads=4,
        vision_intermediate=76,
    ),
    "Qwen2.5-VL, windows everywhere": TinyVL(
        window=84,
        tied=False,
        kv_heads=4,
        layers=4,
        vision_heads=4,
        vision_depth=2,
        text={
            "rope_scaling": {
                "type": "yarn",
                "mrope_section": [2, 3, 3],
                "factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
}


def vl_checkpoint(folder: Path, shape: TinyVL, *, seed: int = 0) -> Path:
    """Writes a checkpoint that speaks bytes and never ends by itself; returns `folder`."""
    write_byte_processor(folder)
    pictures = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": PATCH,
        "merge_size": MERGE,
        "temporal_patch_size": 2,
        "min_pixels": 28 * 28 * 2,
        "max_pixels": 28 * 28 * 90,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    videos = {"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": PATCH}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(videos))
    generation = {"eos_token_id": token("im_end"), "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    (folder / "config.json").write_text(json.dumps(shape.config()))
    maker = _Maker(shape, np.random.default_rng(seed))
    tensors = dict(maker.all())
    # Ids that end a reply have a score of zero, which some byte always beats.
    scored = f"{maker.language}.embed_tokens.weight" if shape.tied else "lm_head.weight"
    tensors[scored][256:] = 0
    save_file(tensors, folder / "model.safetensors")
    return folder


class _Maker:
    """Yields named random tensors; the names follow the checkpoint's modules."""

    def __init__(self, shape: TinyVL, random: np.random.Generator) -> None:
        self._shape, self._random = shape, random
        self._visual = "visual" if shape.published else "model.visual"
        self.language = "model" if shape.published else "model.language_model"

    def all(self) -> Iterator[tuple[str, Array]]:
        yield from self.vision(self._visual)
        yield from self.text(self.language)
        if not self._shape.tied:
            yield from self.linear("lm_head", VOCABULARY, self._shape.hidden, bias=False)

    def vision(self, root: str) -> Iterator[tuple[str, Array]]:
        shape, width, wide = self._shape, self._shape.vision_hidden, self._shape.vision_intermediate
        gated = shape.window is not None
        kernel = self.normal(width, 3, 2, PATCH, PATCH, scale=(6 * PATCH**2) ** -0.5)
        yield f"{root}.patch_embed.proj.weight", kernel
        for block in range(shape.vision_depth):
            name = f"{root}.blocks.{block}"
            yield from self.norm(f"{name}.norm1", width, bias=not gated)
            yield from self.norm(f"{name}.norm2", width, bias=not gated)
            yield from self.linear(f"{name}.attn.qkv", 3 * width, width)
            yield from self.linear(f"{name}.attn.proj", width, width)
            if gated:
                yield from self.linear(f"{name}.mlp.gate_proj", wide, width)
                yield from self.linear(f"{name}.mlp.up_proj", wide, width)
                yield from self.linear(f"{name}.mlp.down_proj", width, wide)
            else:
                yield from self.linear(f"{name}.mlp.fc1", wide, width)
                yield from self.linear(f"{name}.mlp.fc2", width, wide)
        joined = MERGE**2 * width
        yield from self.norm(f"{root}.merger.ln_q", width, bias=not gated)
        yield from self.linear(f"{root}.merger.mlp.0", joined, joined)
        yield from self.linear(f"{root}.merger.mlp.2", shape.hidden, joined)

    def text(self, root: str) -> Iterator[tuple[str, Array]]:
        shape, width = self._shape, self._shape.hidden
        yield f"{root}.embed_tokens.weight", self.normal(VOCABULARY, width, scale=1.0)
        head = width // shape.heads
        for layer in range(shape.layers):
            name = f"{root}.layers.{layer}"
            yield from self.norm(f"{name}.input_layernorm", width, bias=False)
            yield from self.norm(f"{name}.post_attention_layernorm", width, bias=False)
            for part, heads in ("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads):
                yield from self.linear(f"{name}.self_attn.{part}_proj", heads * head, width)
            yield from self.linear(f"{name}.self_attn.o_proj", width, width, bias=False)
            for part in "gate", "up":
                linear = self.linear(
                    f"{name}.mlp.{part}_proj", shape.intermediate, width, bias=False
                )
                yield from linear
            yield from self.linear(f"{name}.mlp.down_proj", width, shape.intermediate, bias=False)
        yield from self.norm(f"{root}.norm", width, bias=False)

    def linear(
        self, name: str, outputs: int, inputs: int, *, bias: bool = True
    ) -> Iterator[tuple[str, Array]]:
        yield f"{name}.weight", self.normal(outputs, inputs, scale=1.5 * inputs**-0.5)
        if bias:
            yield f"{name}.bias", self.normal(outputs, scale=0.3)

    def norm(self, name: str, size: int, *, bias: bool) -> Iterator[tuple[str, Array]]:
        yield f"{name}.weight", self.normal(size, scale=0.2, mean=1.0)
        if bias:
            yield f"{name}.bias", self.normal(size, scale=0.1)

    def normal(self, *sizes: int, scale: float, mean: float = 0.0) -> Array:
        return (mean + scale * self._random.standard_normal(sizes)).astype(np.float32)
