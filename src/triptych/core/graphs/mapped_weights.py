"""Weights of a graph, read through a map of their files that is our own.

ONNX Runtime reads each weight once, to put it in the order in which it computes, and keeps the
pages of what it has read: of scales for good, of the largest weight beside its copy. Pages of a map
of ours can be let go at any time, while it reads as well, and come back from the system's cache of
files if somebody reads them again.
"""

from __future__ import annotations

import math
import mmap
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from triptych.core.graphs.header import ExternalTensor
from triptych.core.ports import Array

_LET_GO = getattr(mmap, "MADV_DONTNEED", None)
"""Pages of a file that nobody writes to are unmapped, and nothing is lost."""

_SMALL_PAGES = getattr(mmap, "MADV_NOHUGEPAGE", None)
"""Who reads a row of a table brings 64 KiB of it to memory so, and 2 MiB otherwise."""

_PAUSE = 0.005
"""Seconds between two times. Of 8-bit weights, 30 MB are read in that time."""

_LARGE = 2**16
"""Bytes from which on a weight is worth a map. Norms are read at each step, and a page that is read
brings its neighbours."""

_KINDS = "biuf"
"""Truth values, integers and floats. Somebody may have taught numpy bfloat16, too."""

_ALIGNMENT = 64
"""What ONNX Runtime's own allocations are aligned to, in bytes."""


class MappedWeights:
    """The weights that data files hold as they are, by name: views of the files, or small copies.

    The views cannot be written to.
    """

    def __init__(self, folder: Path, tensors: Iterable[ExternalTensor]) -> None:
        """Map the files beside a graph. A tensor of another form is left out.

        Raises OSError, and ValueError for a file that is empty.
        """
        self._maps: dict[str, mmap.mmap] = {}
        self.views: dict[str, Array] = {}
        for tensor in tensors:
            if tensor.location not in self._maps:
                with (folder / tensor.location).open("rb") as file:
                    pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                if _SMALL_PAGES is not None:
                    with suppress(OSError):  # A kernel without huge pages.
                        pages.madvise(_SMALL_PAGES)
                self._maps[tensor.location] = pages
            view = _view(self._maps[tensor.location], tensor)
            if view is not None:
                self.views[tensor.name] = view

    def let_go(self) -> None:
        """Unmap all pages. Who reads a view has them back."""
        if _LET_GO is not None:
            for pages in self._maps.values():
                with suppress(OSError):  # A process that locks its memory keeps them.
                    pages.madvise(_LET_GO)

    @contextmanager
    def read_once(self) -> Iterator[None]:
        """Let go of pages, again and again, while the block reads them, and at its end."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_PAUSE):
                self.let_go()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.let_go()


def _view(pages: mmap.mmap, tensor: ExternalTensor) -> Array | None:
    """The tensor's values; None where the file does not hold them as numpy would."""
    if not (tensor.offset or "0").isdecimal():
        return None
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError:  # What only later versions of ONNX know.
        return None
    if dtype.kind not in _KINDS:
        return None
    offset, count = int(tensor.offset or "0"), math.prod(tensor.shape)
    size = count * dtype.itemsize
    whole = offset + size <= len(pages) and tensor.length in {"", str(size)}
    if not whole or not size or offset % _ALIGNMENT:
        return None
    view = np.frombuffer(pages, dtype, count, offset).reshape(tensor.shape)
    return view if size >= _LARGE else view.copy()
