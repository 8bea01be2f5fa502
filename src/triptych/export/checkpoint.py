"""A checkpoint folder, read one tensor at a time and without running anything in it.

Only safetensors is read: pickled weights can run code. The format is an 8-byte little-endian
length, a JSON header and the raw tensors, described at
https://huggingface.co/docs/safetensors; it is read here through memory maps, because the
library's numpy front end has no bfloat16.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from triptych.core.errors import TriptychError
from triptych.core.ports import Array

if TYPE_CHECKING:
    from triptych.export.packed.codes import PackedBlocks

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
# What quantized checkpoints hold; by themselves they are no weights.
INTEGERS: Mapping[str, np.dtype[Any]] = {"I32": np.dtype("<i4"), "I64": np.dtype("<i8")}
# The safetensors library's own bound; a longer header is not a model.
MAX_HEADER_BYTES = 100_000_000
LENGTH_BYTES = 8
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class CheckpointError(TriptychError):
    """A checkpoint folder that cannot be read; says which file and what would be right."""


@dataclass(frozen=True)
class Weight:
    """A tensor of a checkpoint that has not been read yet.

    `read` returns it as float32, float16, float64 or bfloat16, whatever the file holds; the
    array may be a view of the memory-mapped file.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Array]
    fault: str | None = None
    """Why it cannot be used, if it cannot; a tensor that nobody asks for does no harm."""
    packed: PackedBlocks | None = None
    """Its blocks, where the checkpoint is quantized; `read` is then what they stand for."""

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    def reshaped(self, *shape: int) -> Weight:
        """The same values in another shape."""
        return Weight(self.name, shape, lambda: self.read().reshape(shape))


class Checkpoint:
    """The config and the weights of a Hugging Face checkpoint folder.

    Weights are one `model.safetensors`, or shards that `model.safetensors.index.json` lists.
    Raises CheckpointError for a folder that is not one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: no such folder. Give the folder of a checkpoint.")
        self.config = read_json(self.file("config.json", needed_for="the model's shape"))
        self._weights = {weight.name: weight for path in self._shards() for weight in _read(path)}
        quantized = self.config.get("quantization_config")
        if isinstance(quantized, dict):
            from triptych.export.packed import packed_weights

            place = str(folder / "config.json")
            self._weights |= packed_weights(self._weights, quantized, place)

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def weight(self, name: str, shape: tuple[int, ...] | None = None) -> Weight:
        """The tensor of that name, checked against the shape that the config implies."""
        try:
            weight = self._weights[name]
        except KeyError:
            raise CheckpointError(
                f"{self.folder}: the weights hold no tensor {name!r}, which config.json implies. "
                f"Is the checkpoint complete?"
            ) from None
        if weight.fault is not None:
            raise CheckpointError(weight.fault)
        if shape is not None and weight.shape != shape:
            raise CheckpointError(
                f"{self.folder}: {name} has the shape {list(weight.shape)}, but config.json "
                f"implies {list(shape)}."
            )
        return weight

    def packed(self, name: str) -> PackedBlocks | None:
        """The blocks of a tensor that is quantized already, or None."""
        return self._weights[name].packed

    def file(self, name: str, *, needed_for: str) -> Path:
        """The path of a file of this folder, refused when it is absent or lies elsewhere."""
        found = self.optional_file(name)
        if found is None:
            raise CheckpointError(f"{self.folder}: no {name}, needed for {needed_for}.")
        return found

    def optional_file(self, name: str) -> Path | None:
        """The path of a file of this folder, or None. Raises CheckpointError if it lies elsewhere.

        A link is followed inside the folder, and into the `blobs` of the Hugging Face cache
        that the folder is a snapshot of.
        """
        if Path(name).name != name or name in {"", ".", ".."} or "\\" in name:
            raise CheckpointError(
                f"{self.folder}: {name!r} is not the plain name of a file in this folder."
            )
        path = self.folder / name
        if not path.is_file():
            return None
        real, home = path.resolve(), self.folder.resolve()
        cache = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
        if not (real.is_relative_to(home) or real.is_relative_to(cache)):
            raise CheckpointError(f"{path}: this link leaves the checkpoint's folder.")
        return path

    def _shards(self) -> list[Path]:
        index = self.optional_file(INDEX)
        if index is None:
            if self.optional_file(SINGLE) is None and any(self.folder.glob("*.bin")):
                raise CheckpointError(
                    f"{self.folder}: only pickled weights (*.bin), which can run code and are "
                    f"not read. Save the checkpoint as safetensors."
                )
            return [self.file(SINGLE, needed_for="the weights (nor is there an index of shards)")]
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index}: no `weight_map` that lists the shards.")
        names = sorted({str(name) for name in weight_map.values()})
        return [
            self.file(name, needed_for=f"the tensors that {INDEX} places in it") for name in names
        ]


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError when it is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as fault:
        raise CheckpointError(f"{path}: not valid JSON ({fault}).") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: a JSON object was expected.")
    return value


def _read(path: Path) -> Iterator[Weight]:
    """The tensors of one safetensors file, none of them read."""
    length = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length < LENGTH_BYTES or header_bytes > min(length - LENGTH_BYTES, MAX_HEADER_BYTES):
            raise CheckpointError(f"{path}: not a safetensors file, or a truncated one.")
        try:
            header = json.loads(file.read(header_bytes))
        except (ValueError, RecursionError):
            raise CheckpointError(f"{path}: the safetensors header is not JSON.") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: the safetensors header is not a JSON object.")
    start = LENGTH_BYTES + header_bytes
    for name, entry in header.items():
        if name != "__metadata__":
            yield _entry(path, name, entry, start, length)


def _entry(path: Path, name: str, entry: Any, start: int, length: int) -> Weight:
    """One tensor of a header, refused unless its place, shape and dtype agree."""
    try:
        code = str(entry["dtype"])
        shape = tuple(int(size) for size in entry["shape"])
        begin, end = (start + int(offset) for offset in entry["data_offsets"])
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(f"{path}: the header's entry for {name} is malformed.") from None
    if min(shape, default=0) < 0 or not start <= begin <= end <= length:
        raise CheckpointError(f"{path}: {name} lies outside of the file. Is it truncated?")
    dtype = DTYPES.get(code) or INTEGERS.get(code)
    fault = None
    if code not in DTYPES:
        fault = (
            f"{path}: {name} has the dtype {code}; read are {', '.join(DTYPES)}. (Of quantized "
            f"checkpoints, those with a quantization_config of GPTQ, AWQ or compressed-tensors.)"
        )
    if dtype is None:
        return Weight(name, shape, lambda: np.empty(0), fault)
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise CheckpointError(f"{path}: {name} is {end - begin} bytes, not a {code} of {shape}.")

    def read() -> Array:
        if begin == end:
            return np.empty(shape, dtype)
        return (
            np.memmap(path, mode="r", dtype=np.uint8, offset=begin, shape=(end - begin,))
            .view(dtype)
            .reshape(shape)
        )

    return Weight(name, shape, read, fault)
