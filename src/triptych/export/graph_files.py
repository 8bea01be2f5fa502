"""The files of graphs: each `.onnx`, and beside it the weights that it names.

A small graph holds its own weights. What several graphs share lies in a file that all of them
name, whatever their size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx_ir as ir

from triptych.export.tensors import Bundle, LateTensor

# A graph with fewer bytes of weights is one file; protobuf ends at 2 GB.
INLINE_BYTES = 64 * 1024**2
# Weights below this stay in the .onnx file, where shape inference can see them.
EXTERNAL_BYTES = 1024
# Larger tensors start where Windows can map them; small ones would waste the space.
ALIGNED_BYTES = 1024**2
ALIGNMENT = 65536
# The file of the weights that several graphs share, before `.data`.
SHARED = "shared"


@dataclass(frozen=True)
class Progress:
    """How far the writing is: into which file, how many weights and bytes of how many."""

    file: str
    weights: int
    all_weights: int
    bytes: int
    all_bytes: int


Tell = Callable[[Progress], None]
_Key = Bundle | tuple[str, str]


class GraphFiles:
    """The files of some graphs.

    graphs: by their file names. limit: the bytes after which a data file is continued in another
    one; a tensor is not cut, so a larger one has a file to itself. data: what a data file has after
    the name of its graph. apart: whether each graph has data files of its own, whatever it shares.
    """

    def __init__(
        self,
        graphs: Mapping[str, ir.Model],
        *,
        limit: int | None = None,
        data: str = ".data",
        apart: bool = False,
    ) -> None:
        self._graphs = {name: (graph, _weights(graph)) for name, graph in graphs.items()}
        self._limit, self._data = limit, data
        keys: Counter[str] = Counter()
        for _, weights in self._graphs.values():
            keys.update(
                {bundle.shared for bundle in weights if bundle.shared and _is_large(bundle)}
            )
        self._shared = {key for key, count in keys.items() if count > 1 and not apart}
        self._sizes = {
            self._key(name, bundle): bundle.expected_bytes
            for name, (_, weights) in self._graphs.items()
            for bundle in weights
        }

    @property
    def expected_bytes(self) -> int:
        """What the weights take on the disk, as far as that is known before they are read."""
        return sum(self._sizes.values())

    def write(self, folder: Path, tell: Tell | None = None) -> None:
        """Writes the files; of a weight in a data file, one piece at a time is in memory.

        The graphs lose their weights on the way.
        """
        report = _Report(tell, len(self._sizes), self.expected_bytes)
        data = _DataFiles(folder, self._limit, report, self._data)
        places: dict[_Key, list[_Place]] = {}
        for name, (graph, weights) in self._graphs.items():
            own = {
                self._key(name, bundle): bundle.expected_bytes
                for bundle in weights
                if not self._is_shared(bundle)
            }
            small = sum(own.values()) < INLINE_BYTES
            for bundle, values in weights.items():
                key, is_shared = self._key(name, bundle), self._is_shared(bundle)
                if not is_shared and (small or not _is_large(bundle)):
                    _put_inside(values, bundle)
                    report.written(name, bundle.expected_bytes)
                    report.finished()
                    continue
                if key not in places:
                    places[key] = data.write(SHARED if is_shared else name, bundle)
                _name_places(values, bundle, places[key])
            ir.save(graph, folder / name)
            for value in (value for values in weights.values() for value in values):
                value.const_value = None

    def _is_shared(self, bundle: Bundle) -> bool:
        return bundle.shared in self._shared

    def _key(self, name: str, bundle: Bundle) -> _Key:
        """The same for all bundles that are stored once; `name` is the graph's."""
        if bundle.shared is None:
            return bundle
        return SHARED if self._is_shared(bundle) else name, bundle.shared


@dataclass(frozen=True)
class _Place:
    """Where the bytes of a tensor lie in a folder, and of what type they are."""

    file: str
    offset: int
    length: int
    dtype: ir.DataType


class _DataFiles:
    """The data files of a folder, which grow."""

    def __init__(self, folder: Path, limit: int | None, report: _Report, data: str) -> None:
        self._folder, self._limit, self._report, self._data = folder, limit, report, data
        self._lengths: dict[str, list[int]] = {}

    def write(self, name: str, bundle: Bundle) -> list[_Place]:
        """Makes the tensors of a bundle, at the end of the data file of that name."""
        places = [self._reserve(name, tensor) for tensor in bundle.tensors]
        ends = [place.offset for place in places]
        with ExitStack() as stack:
            files = [stack.enter_context(self._open(place.file)) for place in places]
            for step in bundle.pieces():
                for index, (file, piece) in enumerate(zip(files, step, strict=True)):
                    file.seek(ends[index])
                    file.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
                    ends[index] += piece.nbytes
                    self._report.written(places[index].file, piece.nbytes)
        for tensor, place, end in zip(bundle.tensors, places, ends, strict=True):
            if end - place.offset != place.length:
                raise ValueError(
                    f"{tensor} was declared with {place.length} bytes and made with "
                    f"{end - place.offset}"
                )
        self._report.finished()
        return places

    def _reserve(self, name: str, tensor: LateTensor) -> _Place:
        lengths = self._lengths.setdefault(name, [0])
        size = tensor.nbytes
        step = ALIGNMENT if size >= ALIGNED_BYTES else 1
        offset = -(-lengths[-1] // step) * step
        if self._limit is not None and offset and offset + size > self._limit:
            lengths.append(0)
            offset = 0
        lengths[-1] = offset + size
        suffix = f"_{len(lengths) - 1}" if len(lengths) > 1 else ""
        return _Place(f"{name}{self._data}{suffix}", offset, size, tensor.dtype)

    def _open(self, name: str) -> BinaryIO:
        path = self._folder / name
        path.touch()
        return path.open("r+b")


class _Report:
    """Counts what is written and tells of it."""

    def __init__(self, tell: Tell | None, weights: int, size: int) -> None:
        self._tell = tell
        self._now = Progress("", 0, weights, 0, size)

    def written(self, file: str, size: int) -> None:
        # More than was expected where values turned out to need another dtype.
        done = min(self._now.bytes + size, self._now.all_bytes)
        self._update(replace(self._now, file=file, bytes=done))

    def finished(self) -> None:
        self._update(replace(self._now, weights=self._now.weights + 1))

    def _update(self, now: Progress) -> None:
        self._now = now
        if self._tell is not None:
            self._tell(now)


def _weights(graph: ir.Model) -> dict[Bundle, list[ir.Value]]:
    """The bundles of a graph in order, each with the values that its tensors are."""
    found: dict[Bundle, list[ir.Value]] = {}
    for value in graph.graph.initializers.values():
        if isinstance(tensor := value.const_value, LateTensor):
            found.setdefault(tensor.bundle, []).append(value)
    return found


def _is_large(bundle: Bundle) -> bool:
    return bundle.expected_bytes >= EXTERNAL_BYTES


def _put_inside(values: list[ir.Value], bundle: Bundle) -> None:
    for value, array in zip(values, bundle.arrays(), strict=True):
        _store(value, ir.Tensor(array))


def _name_places(values: list[ir.Value], bundle: Bundle, places: list[_Place]) -> None:
    for value, tensor, place in zip(values, bundle.tensors, places, strict=True):
        external = ir.ExternalTensor(
            place.file,
            place.offset,
            place.length,
            place.dtype,
            shape=tensor.shape,
            name=tensor.form.name,
        )
        _store(value, external)


def _store(value: ir.Value, tensor: ir.TensorProtocol) -> None:
    value.const_value = tensor
    # Only now known where the values tell it.
    value.dtype = tensor.dtype
