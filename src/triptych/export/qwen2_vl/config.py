"""What of a Qwen2-VL or Qwen2.5-VL `config.json` the graphs depend on, read and checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triptych.export.graphs.rotary_plan import rotary_plan
from triptych.export.graphs.shape import DecoderShape, head_size, read_shape
from triptych.export.graphs.windows import sliding_windows
from triptych.export.section import Section

# transformers' defaults for what published configs leave out.
DEFAULT_VISION_THETA = 10_000.0
DEFAULT_TEXT_THETA = 1_000_000.0
DEFAULT_EPSILON = 1e-5
DEFAULT_MROPE_SECTION = (16, 24, 24)
DEFAULT_FIRST_WINDOW = 80
DEFAULT_FULL_BLOCKS = (7, 15, 23, 31)
DEFAULT_WINDOW_PIXELS = 112
# What the stage `mrope` counts by unless its settings say otherwise.
MERGE = 2


@dataclass(frozen=True)
class Windows:
    """Where vision attention stays within windows.

    side: of a window, in patches. full_blocks: the blocks whose attention does not stay within.
    """

    side: int
    full_blocks: frozenset[int]


@dataclass(frozen=True)
class VisionShape:
    """A vision encoder. Sizes in values, `patch` and `merge` in pixels and patches a side.

    gated: RMS norms and a gated feed-forward network (Qwen2.5-VL), instead of layer norms and
    two matrices with a QuickGELU between (Qwen2-VL).
    """

    depth: int
    hidden: int
    heads: int
    intermediate: int
    out_hidden: int
    channels: int
    patch: int
    temporal_patch: int
    merge: int
    rope_theta: float
    gated: bool
    windows: Windows | None = None

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


def read_qwen2_vision(section: Section) -> VisionShape:
    """The vision encoder of a Qwen2-VL. Raises ModelConfigError."""
    width = section.count("embed_dim")
    inner = width * section.count("mlp_ratio", 4)
    _require(section, "hidden_act", "quick_gelu")
    return _vision(section, width, inner, section.count("hidden_size"), gated=False)


def read_qwen2_5_vision(section: Section) -> VisionShape:
    """The vision encoder of a Qwen2.5-VL. Raises ModelConfigError."""
    _require(section, "hidden_act", "silu")
    return _vision(
        section,
        section.count("hidden_size"),
        section.count("intermediate_size"),
        section.count("out_hidden_size"),
        gated=True,
        windows=_windows(section),
    )


def read_text(config: Mapping[str, Any], place: str) -> DecoderShape:
    """The decoder of either; in published configs its keys are at the top. Raises as above."""
    nested = "text_config" if "text_config" in config else None
    section = Section(config, place, name=nested).with_defaults(rms_norm_eps=DEFAULT_EPSILON)
    derived = section.count("hidden_size") // section.count("num_attention_heads")
    if section.count("head_dim", derived) != derived:
        section.refuse("head_dim", f"the heads share the hidden size, {derived} each")
    head = head_size(section)
    sections = section.rope().get("mrope_section", DEFAULT_MROPE_SECTION)
    axes = tuple(index % 3 for index, count in enumerate(sections) for _ in range(count))
    if len(axes) != head // 2:
        section.refuse(f"{section.rope_key}.mrope_section", f"its numbers sum to {head // 2}")
    return read_shape(
        section,
        rotary_plan(section, head, theta=DEFAULT_TEXT_THETA, axes=axes),
        qkv_bias=True,
        windows=sliding_windows(section, from_layer=DEFAULT_FIRST_WINDOW),
    )


def tied(config: Mapping[str, Any]) -> bool:
    """Whether the head is the table of embeddings; older configs say so beside the text's sizes."""
    text = config.get("text_config")
    nested = isinstance(text, Mapping) and bool(text.get("tie_word_embeddings"))
    return bool(config.get("tie_word_embeddings")) or nested


def _vision(
    section: Section,
    hidden: int,
    intermediate: int,
    out_hidden: int,
    *,
    gated: bool,
    windows: Windows | None = None,
) -> VisionShape:
    heads = section.count("num_heads")
    if hidden % heads or (hidden // heads) % 4:
        section.refuse("num_heads", f"heads of a multiple of 4 that share the {hidden} values")
    rope = section.rope()
    if rope.get("rope_type", "axial") not in {"axial", "default"}:
        section.refuse("rope_parameters.rope_type", "there is axial")
    if section.count("spatial_merge_size", MERGE) != MERGE:
        section.refuse("spatial_merge_size", f"there is {MERGE}")
    return VisionShape(
        depth=section.count("depth"),
        hidden=hidden,
        heads=heads,
        intermediate=intermediate,
        out_hidden=out_hidden,
        channels=section.count("in_channels", 3),
        patch=section.count("patch_size", 14),
        temporal_patch=section.count("temporal_patch_size", 2),
        merge=MERGE,
        rope_theta=float(rope.get("rope_theta", DEFAULT_VISION_THETA)),
        gated=gated,
        windows=windows,
    )


def _windows(section: Section) -> Windows:
    depth, patch = section.count("depth"), section.count("patch_size", 14)
    side = section.count("window_size", DEFAULT_WINDOW_PIXELS) // MERGE // patch * MERGE
    if side == 0:
        section.refuse("window_size", f"at least {MERGE} patches of {patch} pixels")
    full = section.values.get("fullatt_block_indexes", DEFAULT_FULL_BLOCKS)
    return Windows(side, frozenset(block for block in full if block in range(depth)))


def _require(section: Section, key: str, value: str) -> None:
    if section.values.get(key, value) != value:
        section.refuse(key, f"there is {value}")
