"""What a `quantization_config` says of a checkpoint's packed weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from triptych.core.errors import TriptychError

BITS = (4, 8)


class PackedError(TriptychError):
    """A quantized checkpoint that cannot be read."""


@dataclass(frozen=True)
class Plan:
    """The settings that all packed weights share.

    bits: of a code. group: how many inputs share a scale; None: all of a row. symmetric: whether
    zeros are left out. zero_offset: what was taken off each zero before it was packed. place: the
    config.json, for messages.
    """

    bits: int
    group: int | None
    symmetric: bool
    zero_offset: int
    place: str

    @classmethod
    def of(cls, config: Mapping[str, Any], place: str) -> Self:
        """Reads a quantization_config. Raises PackedError."""
        method = config["quant_method"]
        said: Mapping[str, Any] = config
        if method == "compressed-tensors":
            said = _one_group(config, place)
        bits = said.get("bits", said.get("w_bit", said.get("num_bits")))
        group = said.get("group_size", said.get("q_group_size"))
        if bits not in BITS:
            refuse(place, f"{bits!r} bits", f"{' or '.join(map(str, BITS))} bits")
        if not isinstance(group, int | None) or isinstance(group, bool):
            refuse(place, f"a group_size of {group!r}", "a number")
        if method == "awq" and str(said.get("version", "gemm")).lower() != "gemm":
            refuse(place, f"version {said['version']!r}", "gemm")
        return cls(
            bits=bits,
            group=group if group and group > 0 else None,
            symmetric=bool(said.get("symmetric", False)),
            # GPTQ's first format takes one off, which its second does not.
            zero_offset=int(method == "gptq" and said.get("checkpoint_format") != "gptq_v2"),
            place=place,
        )


def refuse(place: str, what: str, wanted: str) -> None:
    """Raises the PackedError for a variant that is not read."""
    raise PackedError(f"{place}: quantization_config has {what}, which is not read: {wanted} is.")


def _one_group(config: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """The weights' settings of compressed-tensors, which may have several groups of layers."""
    if config.get("format") != "pack-quantized":
        refuse(place, f"the format {config.get('format')!r}", "pack-quantized")
    groups = [one.get("weights") for one in (config.get("config_groups") or {}).values()]
    if len(groups) != 1 or not isinstance(groups[0], Mapping):
        refuse(place, f"{len(groups)} config_groups", "one, with weights,")
    said: Mapping[str, Any] = groups[0]
    if said.get("type", "int") != "int":
        refuse(place, f"the type {said['type']!r}", "int")
    if said.get("strategy", "group") not in {"group", "channel"}:
        refuse(place, f"the strategy {said['strategy']!r}", "group or channel")
    return said
