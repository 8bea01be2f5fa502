"""What of a Qwen3-VL `config.json` the graphs depend on, read and checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triptych.export.graphs.rotary import inverse_frequencies
from triptych.export.graphs.shape import DecoderShape, RotaryPlan, head_size, read_shape
from triptych.export.section import Section

# The activations that the graphs can compute, by their names in transformers.
VISION_ACTIVATIONS = ("gelu_pytorch_tanh", "gelu")
# transformers' defaults for what published configs leave out.
DEFAULT_VISION_THETA = 10_000.0
DEFAULT_TEXT_THETA = 500_000.0
DEFAULT_MROPE_SECTION = (24, 20, 20)


@dataclass(frozen=True)
class VisionConfig:
    """The vision encoder. Sizes in values, `patch` and `merge` in pixels and patches a side."""

    depth: int
    hidden: int
    heads: int
    intermediate: int
    activation: str
    channels: int
    patch: int
    temporal_patch: int
    merge: int
    out_hidden: int
    positions_per_side: int
    deepstack_after: tuple[int, ...]
    rope_theta: float

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def patch_values(self) -> int:
        """Values of one row of `pixel_values`."""
        return self.channels * self.temporal_patch * self.patch**2

    @property
    def merged_hidden(self) -> int:
        """Width of `merge` x `merge` neighbouring patches side by side."""
        return self.hidden * self.merge**2

    @property
    def deepstack_layers(self) -> tuple[tuple[int, int], ...]:
        """(block, merger) pairs in the order of the blocks, which is the order of K."""
        return tuple(
            (block, self.deepstack_after.index(block))
            for block in range(self.depth)
            if block in self.deepstack_after
        )


@dataclass(frozen=True)
class Qwen3VLConfig:
    """A whole Qwen3-VL. tied: whether the head is the table of embeddings."""

    vision: VisionConfig
    text: DecoderShape
    tied: bool


def read_config(config: Mapping[str, Any], place: str) -> Qwen3VLConfig:
    """What the graphs need of a config.json. `place` names it in a ModelConfigError."""
    vision = read_vision(config, place)
    text = Section(config, place, name="text_config")
    tied = config.get("tie_word_embeddings")
    return Qwen3VLConfig(
        vision=vision,
        text=_text(text, deepstack=len(vision.deepstack_after)),
        tied=text.flag("tie_word_embeddings") if tied is None else bool(tied),
    )


def read_vision(config: Mapping[str, Any], place: str) -> VisionConfig:
    """What the vision encoder needs of a config.json, whatever the text model is."""
    section = Section(config, place, name="vision_config")
    hidden, heads = section.count("hidden_size"), section.count("num_heads")
    if hidden % heads or (hidden // heads) % 4:
        section.refuse("hidden_size", f"{heads} heads need a multiple of {4 * heads}")
    per_side = int(section.count("num_position_embeddings") ** 0.5)
    if per_side**2 != section.count("num_position_embeddings"):
        section.refuse("num_position_embeddings", "the table of positions is a square")
    activation = str(section.values.get("hidden_act", VISION_ACTIVATIONS[0]))
    if activation not in VISION_ACTIVATIONS:
        section.refuse("hidden_act", f"there is {', '.join(VISION_ACTIVATIONS)}")
    rope = section.rope()
    if rope.get("rope_type", "axial") not in {"axial", "default"}:
        section.refuse("rope_parameters.rope_type", "there is axial")
    depth = section.count("depth")
    after = tuple(int(block) for block in section.values.get("deepstack_visual_indexes", ()))
    if len(set(after)) != len(after) or not set(after) <= set(range(depth)):
        section.refuse("deepstack_visual_indexes", f"each is one of the blocks 0 to {depth - 1}")
    return VisionConfig(
        depth=depth,
        hidden=hidden,
        heads=heads,
        intermediate=section.count("intermediate_size"),
        activation=activation,
        channels=section.count("in_channels", 3),
        patch=section.count("patch_size", 16),
        temporal_patch=section.count("temporal_patch_size", 2),
        merge=section.count("spatial_merge_size", 2),
        out_hidden=section.count("out_hidden_size"),
        positions_per_side=per_side,
        deepstack_after=after,
        rope_theta=float(rope.get("rope_theta", DEFAULT_VISION_THETA)),
    )


def _text(section: Section, *, deepstack: int) -> DecoderShape:
    rope = section.rope()
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in {"default", "mrope"}:
        section.refuse("rope_parameters.rope_type", "there is default")
    frequencies = inverse_frequencies(
        float(rope.get("rope_theta", DEFAULT_TEXT_THETA)), head_size(section)
    )
    time, height, width = rope.get("mrope_section", DEFAULT_MROPE_SECTION)
    axes = interleaved_axes((int(time), int(height), int(width)), len(frequencies))
    biased = section.flag("attention_bias")
    return read_shape(
        section,
        RotaryPlan(frequencies, axes),
        head_norms=True,
        qkv_bias=biased,
        out_bias=biased,
        deepstack=deepstack,
    )


def interleaved_axes(section: tuple[int, int, int], frequencies: int) -> tuple[int, ...]:
    """Which position (0 time, 1 height, 2 width) turns each frequency.

    Height and width take every third one, as often as their sections say; time has the rest.
    """
    axes = [0] * frequencies
    for axis in (1, 2):
        for frequency in range(axis, min(3 * section[axis], frequencies), 3):
            axes[frequency] = axis
    return tuple(axes)
