"""What of a Qwen3-VL `config.json` the graphs depend on, read and checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from triptych.core.errors import TriptychError

# The activations that the graphs can compute, by their names in transformers.
VISION_ACTIVATIONS = ("gelu_pytorch_tanh", "gelu")
# transformers' defaults for what published configs leave out.
DEFAULT_VISION_THETA = 10_000.0
DEFAULT_TEXT_THETA = 500_000.0
DEFAULT_MROPE_SECTION = (24, 20, 20)


class ModelConfigError(TriptychError):
    """A config.json that lacks a value or asks for something that the exporter cannot build."""


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
class TextConfig:
    """The decoder. `mrope_section` counts rotary frequencies per axis (time, height, width)."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    intermediate: int
    vocabulary: int
    epsilon: float
    attention_bias: bool
    rope_theta: float
    mrope_section: tuple[int, int, int]
    tied: bool


def read_config(config: Mapping[str, Any], place: str) -> tuple[VisionConfig, TextConfig]:
    """The two halves of a Qwen3-VL config. `place` names it in a ModelConfigError."""
    vision = _Section(config, "vision_config", place)
    text = _Section(config, "text_config", place)
    return _vision(vision), _text(text, tied=config.get("tie_word_embeddings"))


def _vision(section: _Section) -> VisionConfig:
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


def _text(section: _Section, *, tied: Any) -> TextConfig:
    if section.values.get("hidden_act", "silu") != "silu":
        section.refuse("hidden_act", "there is silu")
    rope = section.rope()
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in {"default", "mrope"}:
        section.refuse("rope_parameters.rope_type", "there is default")
    hidden, heads = section.count("hidden_size"), section.count("num_attention_heads")
    kv_heads = section.count("num_key_value_heads", heads)
    if heads % kv_heads:
        section.refuse("num_key_value_heads", f"it divides the {heads} attention heads")
    head = section.count("head_dim", hidden // heads)
    if head % 8:
        section.refuse("head_dim", "GroupQueryAttention wants a multiple of 8")
    time, height, width = rope.get("mrope_section", DEFAULT_MROPE_SECTION)
    return TextConfig(
        layers=section.count("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head=head,
        intermediate=section.count("intermediate_size"),
        vocabulary=section.count("vocab_size"),
        epsilon=float(section.values.get("rms_norm_eps", 1e-6)),
        attention_bias=bool(section.values.get("attention_bias", False)),
        rope_theta=float(rope.get("rope_theta", DEFAULT_TEXT_THETA)),
        mrope_section=(int(time), int(height), int(width)),
        tied=bool(section.values.get("tie_word_embeddings", False) if tied is None else tied),
    )


class _Section:
    """One of the config's objects, with errors that name the key."""

    def __init__(self, config: Mapping[str, Any], name: str, place: str) -> None:
        values = config.get(name)
        if not isinstance(values, dict):
            raise ModelConfigError(f"{place}: no `{name}`; is this the config of a Qwen3-VL?")
        self.values: Mapping[str, Any] = values
        self._name, self._place = name, place

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number above zero. A square given as two equal sides counts as one."""
        value = self.values.get(key)
        value = default if value is None else value
        if isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.refuse(key, "a whole number above zero")
        return value

    def rope(self) -> Mapping[str, Any]:
        """The rotary settings: `rope_parameters`, or `rope_scaling` beside `rope_theta`."""
        rope = self.values.get("rope_parameters") or self.values.get("rope_scaling") or {}
        if not isinstance(rope, dict):
            self.refuse("rope_parameters", "an object")
        theta = self.values.get("rope_theta")
        return rope if theta is None else {"rope_theta": theta, **rope}

    def refuse(self, key: str, wanted: str) -> NoReturn:
        """Raises the ModelConfigError for a value, with what would be right."""
        value: Any = self.values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        raise ModelConfigError(
            f"{self._place}: {self._name}.{key} is {value!r}, which cannot be exported: {wanted}."
        )
