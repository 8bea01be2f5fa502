"""What of an Idefics3 or SmolVLM `config.json` the graphs depend on, read and checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triptych.export.graphs.rotary_plan import rotary_plan
from triptych.export.graphs.shape import DecoderShape, head_size, read_shape
from triptych.export.section import Section

# The activations that the vision graph can compute, by their names in transformers.
VISION_ACTIVATIONS = ("gelu_pytorch_tanh", "gelu")

# transformers' defaults. Published configs leave out what equals them.
VISION_DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": VISION_ACTIVATIONS[0],
    "layer_norm_eps": 1e-6,
}
TEXT_DEFAULTS: Mapping[str, Any] = {
    "model_type": "llama",
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
}
DEFAULT_THETA = 10_000.0
DEFAULT_SCALE = 2


@dataclass(frozen=True)
class VisionConfig:
    """The vision encoder and what connects it to the text.

    tile, patch: sides in pixels. table: positions per side that there are embeddings for.
    shuffle: patches per side that become one row, of width out_hidden.
    """

    depth: int
    hidden: int
    heads: int
    intermediate: int
    activation: str
    epsilon: float
    channels: int
    tile: int
    patch: int
    table: int
    shuffle: int
    out_hidden: int

    @property
    def patches(self) -> int:
        """Patches per side of a tile. Pixels beyond the last whole patch are not looked at."""
        return self.tile // self.patch

    @property
    def positions(self) -> tuple[int, ...]:
        """The row of the table for each patch of a tile, in raster order.

        The places of a tile of another size than the table's are spread over it: patch i of n
        stands at i / n, which lies in one of the table's equal parts. (In transformers floats are
        compared here, whose rounding moves a few patches by one place on some grids, of 19, 25 or
        29 patches a side among others. No published model has one of those.)
        """
        places = [index * self.table // self.patches for index in range(self.patches)]
        return tuple(row * self.table + column for row in places for column in places)


@dataclass(frozen=True)
class Idefics3Config:
    """A whole model. tied: whether the head is the table of embeddings."""

    vision: VisionConfig
    text: DecoderShape
    tied: bool


def read_config(config: Mapping[str, Any], place: str, *, tile: int | None) -> Idefics3Config:
    """What the graphs need of a config.json. `place` names it in a ModelConfigError.

    tile: pixels of a tile's side as the image processor cuts them; None: as the vision encoder
    was trained for.
    """
    whole = Section(config, place)
    text = _text(Section(config, place, name="text_config").with_defaults(**TEXT_DEFAULTS))
    vision = Section(config, place, name="vision_config").with_defaults(**VISION_DEFAULTS)
    shuffle = whole.count("scale_factor", DEFAULT_SCALE)
    return Idefics3Config(
        vision=_vision(vision, tile=tile, shuffle=shuffle, out_hidden=text.hidden),
        text=text,
        tied=whole.flag("tie_word_embeddings"),
    )


def _vision(section: Section, *, tile: int | None, shuffle: int, out_hidden: int) -> VisionConfig:
    hidden, heads = section.count("hidden_size"), section.count("num_attention_heads")
    if hidden % heads:
        section.refuse("hidden_size", f"{heads} heads need a multiple of {heads}")
    activation = str(section.values["hidden_act"])
    if activation not in VISION_ACTIVATIONS:
        section.refuse("hidden_act", f"there is {', '.join(VISION_ACTIVATIONS)}")
    side, patch = section.count("image_size"), section.count("patch_size")
    tile = side if tile is None else tile
    if side < patch or tile < patch or (tile // patch) % shuffle:
        section.refuse(
            "patch_size",
            f"tiles of {tile} pixels need a multiple of {shuffle} patches a side (scale_factor)",
        )
    return VisionConfig(
        depth=section.count("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        intermediate=section.count("intermediate_size"),
        activation=activation,
        epsilon=float(section.values["layer_norm_eps"]),
        channels=section.count("num_channels"),
        tile=tile,
        patch=patch,
        table=side // patch,
        shuffle=shuffle,
        out_hidden=out_hidden,
    )


def _text(section: Section) -> DecoderShape:
    if section.values["model_type"] != "llama":
        section.refuse("model_type", "there is llama")
    biased = section.flag("attention_bias")
    return read_shape(
        section,
        rotary_plan(section, head_size(section), theta=DEFAULT_THETA),
        qkv_bias=biased,
        out_bias=biased,
        mlp_bias=section.flag("mlp_bias"),
    )
