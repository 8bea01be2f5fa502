"""The machine's memory: how much there is, and how a cache reserves more than it uses."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from triptych.core.errors import InputError
from triptych.core.ports import Array

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Linux: do not ask now whether there will be memory for all of it."""

_HEAPS = "MALLOC_ARENA_MAX"
_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's malloc.h."""

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


def share_heap() -> None:
    """Let threads that start from now on allocate from one heap.

    glibc gives each a heap of its own, and of those it gives nothing back but their ends: three
    sessions and a tokenizer that were loaded at once left 27 MiB of holes. Where somebody has said
    how many heaps there are to be, that stands.
    """
    said = _HEAPS in os.environ or "malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if not said:
        with suppress(OSError, AttributeError, TypeError):  # Other systems' libraries.
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Give back the freed pages of the heap that loading has left."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


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
