"""Tiny Idefics3 and SmolVLM checkpoints with random weights, written with numpy alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.export.idefics3.processor_files import token_id, tokenizer, write_processor_files

Array = np.ndarray[Any, Any]
VOCABULARY = tokenizer().get_vocab_size()


@dataclass(frozen=True)
class TinyShape:
    """The sizes of a tiny model; the names follow its config.json.

    tile: pixels of a tile's side as the image processor cuts them, if not as `image_size` says.
    text, vision: further keys of the two parts of the config.
    """

    family: str = "idefics3"
    hidden: int = 64
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    head: int = 16
    intermediate: int = 96
    tied: bool = False
    vision_hidden: int = 32
    vision_layers: int = 3
    vision_heads: int = 2
    vision_intermediate: int = 48
    image_size: int = 48
    patch: int = 8
    scale: int = 2
    tile: int | None = None
    text: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Pixels of a tile's side."""
        return self.tile or self.image_size

    @property
    def rows(self) -> int:
        """Tokens of a tile."""
        return (self.side // self.patch // self.scale) ** 2

    def config(self) -> dict[str, Any]:
        name = {"idefics3": "Idefics3", "smolvlm": "SmolVLM"}[self.family]
        return {
            "architectures": [f"{name}ForConditionalGeneration"],
            "model_type": self.family,
            "tie_word_embeddings": self.tied,
            "image_token_id": token_id("<image>"),
            "pad_token_id": token_id("<|im_end|>"),
            "scale_factor": self.scale,
            "text_config": {
                "model_type": "llama",
                "vocab_size": VOCABULARY,
                "hidden_size": self.hidden,
                "num_hidden_layers": self.layers,
                "num_attention_heads": self.heads,
                "num_key_value_heads": self.kv_heads,
                "head_dim": self.head,
                "intermediate_size": self.intermediate,
                "rms_norm_eps": 1e-5,
                "max_position_embeddings": 4096,
                "rope_theta": 100_000.0,
                **self.text,
            },
            "vision_config": {
                "model_type": f"{self.family}_vision",
                "hidden_size": self.vision_hidden,
                "num_hidden_layers": self.vision_layers,
                "num_attention_heads": self.vision_heads,
                "intermediate_size": self.vision_intermediate,
                "image_size": self.image_size,
                "patch_size": self.patch,
                **self.vision,
            },
        }


# Both names; tied and not; one, some and as many kv heads; tiles that are whole patches, that are
# not, and that are smaller than the table of positions; shuffles of two, three and four.
SHAPES = {
    "idefics3": TinyShape(),
    "smolvlm, tied, a shuffle of three": TinyShape(
        family="smolvlm",
        tied=True,
        kv_heads=1,
        scale=3,
        image_size=79,
        patch=13,
        vision_heads=4,
        text={"rope_theta": 10_000.0, "rms_norm_eps": 1e-6},
    ),
    "biased, tiles below the table": TinyShape(
        family="smolvlm",
        hidden=48,
        heads=2,
        kv_heads=2,
        head=24,
        intermediate=56,
        layers=4,
        scale=4,
        image_size=96,
        tile=64,
        vision_hidden=48,
        vision_heads=3,
        vision_layers=2,
        text={"attention_bias": True, "mlp_bias": True},
        vision={"hidden_act": "gelu", "layer_norm_eps": 1e-5},
    ),
}


def random_checkpoint(folder: Path, shape: TinyShape, *, seed: int = 0) -> Path:
    """Writes a checkpoint with its processor; returns `folder`.

    It never ends a reply by itself, and never says an image's token.
    """
    write_processor_files(
        folder,
        side=shape.side,
        rows=shape.rows,
        longest=2 * shape.side,
        family={"idefics3": "Idefics3", "smolvlm": "SmolVLM"}[shape.family],
    )
    generation = {"eos_token_id": token_id("<end_of_utterance>"), "do_sample": False}
    for name, values in {"generation_config": generation, "config": shape.config()}.items():
        (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    tensors = dict(_Maker(shape, np.random.default_rng(seed)).all())
    scored = "model.text_model.embed_tokens.weight" if shape.tied else "lm_head.weight"
    for token in ("<image>", "<end_of_utterance>"):
        # A score of zero, which some other token always beats.
        tensors[scored][token_id(token)] = 0
    save_file(tensors, folder / "model.safetensors")
    return folder


class _Maker:
    """Yields named random tensors; the names follow the checkpoint's modules."""

    def __init__(self, shape: TinyShape, random: np.random.Generator) -> None:
        self._shape, self._random = shape, random

    def all(self) -> Iterator[tuple[str, Array]]:
        shape = self._shape
        yield from self.vision("model.vision_model")
        joined = shape.vision_hidden * shape.scale**2
        connector = "model.connector.modality_projection.proj"
        yield from self.linear(connector, shape.hidden, joined, bias=False)
        text = "model.text_model"
        yield f"{text}.embed_tokens.weight", self.normal(VOCABULARY, shape.hidden, scale=1.0)
        for layer in range(shape.layers):
            yield from self.text_layer(f"{text}.layers.{layer}")
        yield from self.norm(f"{text}.norm", shape.hidden, bias=False)
        if not shape.tied:
            yield from self.linear("lm_head", VOCABULARY, shape.hidden, bias=False)

    def vision(self, root: str) -> Iterator[tuple[str, Array]]:
        shape, width, patch = self._shape, self._shape.vision_hidden, self._shape.patch
        embeddings = f"{root}.embeddings"
        kernel = self.normal(width, 3, patch, patch, scale=(3 * patch**2) ** -0.5)
        yield f"{embeddings}.patch_embedding.weight", kernel
        yield f"{embeddings}.patch_embedding.bias", self.normal(width, scale=0.1)
        positions = self.normal((shape.image_size // patch) ** 2, width, scale=1.0)
        yield f"{embeddings}.position_embedding.weight", positions
        for layer in range(shape.vision_layers):
            name = f"{root}.encoder.layers.{layer}"
            yield from self.norm(f"{name}.layer_norm1", width, bias=True)
            yield from self.norm(f"{name}.layer_norm2", width, bias=True)
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield from self.linear(f"{name}.self_attn.{part}", width, width)
            yield from self.linear(f"{name}.mlp.fc1", shape.vision_intermediate, width)
            yield from self.linear(f"{name}.mlp.fc2", width, shape.vision_intermediate)
        yield from self.norm(f"{root}.post_layernorm", width, bias=True)

    def text_layer(self, root: str) -> Iterator[tuple[str, Array]]:
        shape, width = self._shape, self._shape.hidden
        yield from self.norm(f"{root}.input_layernorm", width, bias=False)
        yield from self.norm(f"{root}.post_attention_layernorm", width, bias=False)
        bias = bool(shape.text.get("attention_bias"))
        for part, heads in ("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads):
            name = f"{root}.self_attn.{part}_proj"
            yield from self.linear(name, heads * shape.head, width, bias=bias)
        yield from self.linear(
            f"{root}.self_attn.o_proj", width, shape.heads * shape.head, bias=bias
        )
        bias = bool(shape.text.get("mlp_bias"))
        for part in "gate", "up":
            name = f"{root}.mlp.{part}_proj"
            yield from self.linear(name, shape.intermediate, width, bias=bias)
        yield from self.linear(f"{root}.mlp.down_proj", width, shape.intermediate, bias=bias)

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
