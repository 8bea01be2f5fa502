"""The files of a graph."""

from __future__ import annotations

from pathlib import Path

from triptych.core.dataclass import dataclass
from triptych.core.graphs.header import ExternalTensor

LARGE = 64 * 2**20
"""Bytes from which on opening a graph takes so long, and so much memory, that it is put off, or
helped."""


@dataclass(frozen=True)
class GraphFiles:
    """An ONNX file and the data files beside it.

    data: their names. tensors: what is known to be in them.
    """

    graph: Path
    data: tuple[str, ...] = ()
    tensors: tuple[ExternalTensor, ...] = ()

    @property
    def folder(self) -> Path:
        """Where all of them are."""
        return self.graph.parent

    def all(self) -> list[Path]:
        """The graph, then its data files."""
        return [self.graph, *(self.folder / name for name in self.data)]

    def is_large(self) -> bool:
        """Whether there is much to read."""
        return sum(file.stat().st_size for file in self.all() if file.exists()) > LARGE
