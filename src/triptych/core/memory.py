"""The machine's memory: how much there is, and how a cache reserves more than it uses."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import numpy as np

from triptych.core.errors import InputError
from triptych.core.ports import Array

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Linux: do not ask now whether there will be memory for all of it."""

_KIB = 1024

_PAGE_OUT = 21
"""MADV_PAGEOUT of Linux: reclaim these pages, whatever is in them now, and lose nothing. A thread
may have put other memory in the place of a file since the list of mappings was read, which
MADV_DONTNEED would empty."""

_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""What a container may use: bytes, or ``max``."""


def reserve(shape: tuple[int, ...], dtype: str) -> Array:
    """Zeroed memory; the system hands out a page when it is first written.

    Pages are small ones. With huge pages, which numpy asks for, a few rows of each head of each
    layer take fifty times their size: 300 tokens of 28 layers took 960 MB where 17 MB were written.
    Raises InputError when so much cannot even be promised.
    """
    wanted = np.dtype(dtype)
    size = math.prod(shape) * wanted.itemsize
    try:
        if size == 0 or not hasattr(mmap, "MAP_ANONYMOUS"):
            return np.zeros(shape, wanted)
        return np.frombuffer(_small_pages(size), wanted).reshape(shape)
    except (MemoryError, OSError, OverflowError, ValueError) as error:
        raise InputError(
            f"a cache of {size / 2**30:,.1f} GiB for each past tensor, {list(shape)}, cannot be "
            "reserved; lower session.max_context"
        ) from error


def _small_pages(size: int) -> mmap.mmap:
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    small = getattr(mmap, "MADV_NOHUGEPAGE", None)
    if small is not None:
        with suppress(OSError):  # A kernel without huge pages.
            pages.madvise(small)
    return pages


def give_back(folders: Collection[Path]) -> int:
    """Give memory back that loading has left: freed pages of the heap, and weights read from files.

    folders: of the data files. Weights that were put in another order were read once; what is read
    again comes from the system's cache of files. Pages that somebody wrote to stay. Returns the
    bytes of files given back; 0 where the system has no way to.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        maps = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")
    except (OSError, AttributeError, TypeError):
        return 0
    inside = {str(folder.resolve()) for folder in folders}
    given, first, last, resident = 0, 0, 0, 0
    for line in maps.splitlines():
        name, _, rest = line.partition(" ")
        if "-" in name and not name.endswith(":"):
            path = rest.split(maxsplit=4)[-1]
            ours = str(Path(path).parent) in inside
            first, last = (int(end, 16) for end in name.split("-")) if ours else (0, 0)
        elif name == "Rss:":
            resident = int(rest.split()[0]) * _KIB
        elif name == "Anonymous:" and last and resident and int(rest.split()[0]) == 0:
            size = ctypes.c_size_t(last - first)
            if libc.madvise(ctypes.c_void_p(first), size, _PAGE_OUT) == 0:
                given += resident
    return given


def total_memory() -> int:
    """The bytes that this process may hope for: the machine's, or its container's if fewer."""
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        machine = 8 * 2**30
    try:
        return min(machine, int(_GROUP_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return machine
