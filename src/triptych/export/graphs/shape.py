"""The numbers and the choices that make one decoder differ from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from triptych.export.section import Section


@dataclass(frozen=True, eq=False)
class RotaryPlan:
    """How positions turn queries and keys.

    frequencies: f32 [head / 2], the angle per step of each pair.
    axes: for each frequency, which of a token's three positions (0 time, 1 height, 2 width) it
        turns by; None for models whose tokens have one position.
    scaling: what cosine and sine are multiplied by (long-context variants; 1 for most).
    """

    frequencies: npt.NDArray[np.float32]
    axes: tuple[int, ...] | None = None
    scaling: float = 1.0


@dataclass(frozen=True, eq=False)
class DecoderShape:
    """A decoder of the Llama lineage: RMS norms, rotary positions, grouped-query attention.

    head_norms: whether each query and key head has an RMS norm of its own.
    windows: for each layer that does not look back on everything, how many tokens it looks at,
        its own among them.
    deepstack: K, how many of the first layers add visual features; None: there is no such port.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    intermediate: int
    vocabulary: int
    epsilon: float
    rotary: RotaryPlan
    head_norms: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    windows: Mapping[int, int] = field(default_factory=dict)
    deepstack: int | None = None


def read_shape(
    section: Section,
    rotary: RotaryPlan,
    *,
    head_norms: bool = False,
    qkv_bias: bool = False,
    out_bias: bool = False,
    mlp_bias: bool = False,
    windows: Mapping[int, int] | None = None,
    deepstack: int | None = None,
) -> DecoderShape:
    """The shape that a text config names in the keys of Qwen and Llama. Raises ModelConfigError."""
    if section.values.get("hidden_act", "silu") != "silu":
        section.refuse("hidden_act", "there is silu")
    heads = section.count("num_attention_heads")
    kv_heads = section.count("num_key_value_heads", heads)
    if heads % kv_heads:
        section.refuse("num_key_value_heads", f"it divides the {heads} attention heads")
    return DecoderShape(
        layers=section.count("num_hidden_layers"),
        hidden=section.count("hidden_size"),
        heads=heads,
        kv_heads=kv_heads,
        head=head_size(section),
        intermediate=section.count("intermediate_size"),
        vocabulary=section.count("vocab_size"),
        epsilon=float(section.values.get("rms_norm_eps", 1e-6)),
        rotary=rotary,
        head_norms=head_norms,
        qkv_bias=qkv_bias,
        out_bias=out_bias,
        mlp_bias=mlp_bias,
        windows=windows or {},
        deepstack=deepstack,
    )


def head_size(section: Section) -> int:
    """The width of an attention head. Raises ModelConfigError for one that cannot be built."""
    heads = section.count("num_attention_heads")
    head = section.count("head_dim", section.count("hidden_size") // heads)
    if head % 8:
        section.refuse("head_dim", "GroupQueryAttention wants a multiple of 8")
    return head
