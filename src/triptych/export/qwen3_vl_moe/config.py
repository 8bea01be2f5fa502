"""What a Qwen3-VL-MoE `config.json` says of its experts; the rest is Qwen3-VL's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triptych.export.section import Section


@dataclass(frozen=True)
class SparseConfig:
    """Which layers have experts, and their sizes.

    chosen: how many experts serve one token. inner: the width inside of an expert. sparse: for
    each layer, whether it has experts; the others have one feed-forward network for all tokens.
    """

    experts: int
    chosen: int
    inner: int
    sparse: tuple[bool, ...]


def read_sparse(config: Mapping[str, Any], place: str) -> SparseConfig:
    """Reads it; `place` names the config in a ModelConfigError.

    `norm_topk_prob` is not read: the weights of the chosen experts always sum to 1, as in
    transformers, whatever that key says.
    """
    section = Section(config, place, name="text_config")
    experts = section.count("num_experts", section.values.get("num_local_experts"))
    chosen = section.count("num_experts_per_tok")
    if chosen > experts:
        section.refuse("num_experts_per_tok", f"at most the {experts} experts")
    every = section.count("decoder_sparse_step", 1)
    dense = section.values.get("mlp_only_layers") or ()
    layers = range(section.count("num_hidden_layers"))
    return SparseConfig(
        experts=experts,
        chosen=chosen,
        inner=section.count("moe_intermediate_size"),
        sparse=tuple(layer not in dense and (layer + 1) % every == 0 for layer in layers),
    )
