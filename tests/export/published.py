"""Checkpoints of the published shapes with random weights, for measuring what real ones cost.

Sizes are those of config.json of Qwen/Qwen3-VL-{2B,4B,8B}-Instruct; names and order are those of
the tiny checkpoints. Weights are bfloat16, normal like theirs, and written tensor by tensor: one
block of random values per scale is repeated, at another place for each tensor, because drawing
eight billion would take minutes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import numpy as np

from tests.export.checkpoints import Array, Maker, TinyShape

_8B = TinyShape(
    vocabulary=151_936,
    hidden=4096,
    layers=36,
    heads=32,
    kv_heads=8,
    head=128,
    intermediate=12_288,
    mrope_section=(24, 20, 20),
    rope_theta=5_000_000.0,
    max_positions=262_144,
    tied=False,
    vision_depth=27,
    vision_hidden=1152,
    vision_heads=16,
    vision_intermediate=4304,
    positions=2304,
    deepstack=(8, 16, 24),
)
_4B = replace(
    _8B,
    hidden=2560,
    intermediate=9728,
    tied=True,
    vision_depth=24,
    vision_hidden=1024,
    vision_intermediate=4096,
    deepstack=(5, 11, 17),
)
_2B = replace(_4B, hidden=2048, layers=28, heads=16, intermediate=6144)
# The text of Qwen3-0.6B with the eyes of Qwen3-VL-2B: as small as a model with the true proportions
# of a step, a prompt and a picture can be.
_SMALL = replace(_2B, hidden=1024, intermediate=3072)

PUBLISHED = {"0.6b": _SMALL, "2b": _2B, "4b": _4B, "8b": _8B}

# What published checkpoints put into one file at the most.
SHARD_BYTES = 5 * 10**9
# How many values are drawn; a prime, so that rows of any width are different.
BLOCK_VALUES = 2_097_143
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True)
class Drawn:
    """A tensor that is to be drawn: its shape, and the moments of its values."""

    shape: tuple[int, ...]
    scale: float
    mean: float

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * BFLOAT16.itemsize


def scaled_down(shape: TinyShape, layers: int) -> TinyShape:
    """The same widths with so many layers at the most, of the decoder and of the vision encoder."""
    depth = min(shape.vision_depth, layers)
    return replace(
        shape,
        layers=min(shape.layers, layers),
        vision_depth=depth,
        deepstack=tuple(range(min(depth, len(shape.deepstack)))),
    )


def published_checkpoint(folder: Path, shape: TinyShape, *, shard_bytes: int = SHARD_BYTES) -> Path:
    """Writes config.json, the index and the shards; returns `folder`."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(shape.config(), indent=2))
    tensors = published_tensors(shape)
    shards = _shards(tensors, shard_bytes)
    weight_map = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write(folder / file, {name: tensors[name] for name in names})
        weight_map |= dict.fromkeys(names, file)
    total = sum(drawn.bytes for drawn in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    return folder


def published_tensors(shape: TinyShape) -> dict[str, Drawn]:
    """The tensors of a checkpoint by name, none of them drawn yet."""
    # What _Plan calls an array is a plan for one.
    return cast("dict[str, Drawn]", dict(_Plan(shape, np.random.default_rng(0)).all()))


class _Plan(Maker):
    """Plans tensors where a Maker makes them."""

    def normal(self, *sizes: int, scale: float, mean: float = 0.0) -> Any:
        return Drawn(sizes, scale, mean)


def _shards(tensors: dict[str, Drawn], limit: int) -> list[list[str]]:
    """The names in order, in groups of so many bytes at the most."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, drawn in tensors.items():
        if shards[-1] and size + drawn.bytes > limit:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += drawn.bytes
    return shards


def _write(path: Path, tensors: dict[str, Drawn]) -> None:
    """One safetensors file: the length of the header, the header, the tensors."""
    ends = list(accumulate(drawn.bytes for drawn in tensors.values()))
    entries = {
        name: {
            "dtype": "BF16",
            "shape": list(drawn.shape),
            "data_offsets": [end - drawn.bytes, end],
        }
        for (name, drawn), end in zip(tensors.items(), ends, strict=True)
    }
    header = json.dumps(entries).encode()
    # Tensors start at a multiple of eight bytes.
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for number, drawn in enumerate(tensors.values()):
            for piece in _pieces(drawn, number):
                file.write(piece.view(np.uint8).data)


def _pieces(drawn: Drawn, number: int) -> Iterator[Array]:
    """The values of a tensor: a block, from some place on and again and again."""
    block = _block(drawn.scale, drawn.mean)
    start = number * 7919 % len(block)
    left = drawn.size
    while left:
        piece = block[start : start + left]
        yield piece
        left, start = left - len(piece), 0


@cache
def _block(scale: float, mean: float) -> Array:
    values: Array = (mean + scale * _normals()).astype(BFLOAT16)
    return values


@cache
def _normals() -> Array:
    return np.random.default_rng(0).standard_normal(BLOCK_VALUES, np.float32)
