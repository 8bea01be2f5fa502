"""Writes a recording as the run goes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.ports import Array, Port
from triptych.core.system.whole_file import whole
from triptych.recording.folder import NotWritten, claim, writing
from triptych.recording.index import INDEX, Pass, Tensor, header, last

SHARD = 16 * 2**20
"""Bytes that are gathered before they are written to a file."""


class Writer:
    """Writes passes and tensors to a folder, which is to be new or empty.

    A tensor is in the index only when its file is there. Raises RecordingError for a folder that
    is in use, NotWritten where there is no room.

    failed: something could not be written; what follows it would belong to nothing.
    """

    def __init__(self, folder: Path, *, version: str, ports: list[str] | None) -> None:
        self.folder = claim(folder)
        self.failed = False
        self._files = 0
        self._bytes = 0
        self._arrays: dict[str, Array] = {}
        self._lines: list[str] = [header(version, ports)]
        self._write_lines()

    def begin(self, walk: Pass) -> None:
        """Note a pass."""
        self._lines.append(walk.line())

    def add(self, walk: Pass, writer: str, port: Port, value: Array, **where: Any) -> None:
        """Note what was written to a port, of which a copy is made. where: as in `Tensor`."""
        # What a stage gave is valid until its next run.
        kept = np.array(value, order="C")
        name = f"{walk.number}/{writer}/{port.name}"
        tensor = Tensor(
            name,
            port.name,
            writer,
            walk.number,
            kept.dtype.name,
            kept.shape,
            port.axes,
            f"ports-{self._files:05}.safetensors",
            **where,
        )
        self._arrays[name] = kept
        self._lines.append(tensor.line())
        self._bytes += kept.nbytes
        if self._bytes >= SHARD:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._arrays:
            from safetensors.numpy import save

            file = self.folder / f"ports-{self._files:05}.safetensors"
            with self._writing(), whole(file) as part:
                part.write_bytes(save(self._arrays))
            self._files += 1
            self._bytes = 0
            self._arrays = {}
        self._write_lines()

    def finish(self, *, complete: bool) -> None:
        """Write the rest, and whether that is all of the run."""
        self.flush()
        if complete:
            self._lines.append(last())
            self._write_lines()

    def _write_lines(self) -> None:
        with self._writing(), (self.folder / INDEX).open("a", encoding="utf-8") as file:
            file.writelines(self._lines)
        self._lines = []

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with writing(self.folder):
                yield
        except NotWritten:
            self.failed = True
            raise
