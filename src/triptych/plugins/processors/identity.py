"""Whether a request names the same files as one before it, without reading them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from os import PathLike, fspath
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from triptych.core.prompt import digest_of

T = TypeVar("T")


def identity(source: object) -> Hashable | None:
    """What stays the same as long as a source does; None where nothing tells.

    A file stays the same as long as its time, size and place on the disk do, a folder as long
    as its files do. Pictures that are held in memory may be drawn on at any time.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return digest_of(bytes(source))
    if isinstance(source, (str, PathLike)):
        path = Path(str(fspath(source)))
        try:
            if path.is_dir():
                return path.resolve(), tuple(sorted(map(_file, path.iterdir())))
            return path.resolve(), _file(path)
        except (OSError, ValueError):
            return None
    if isinstance(source, Sequence):
        parts = tuple(identity(part) for part in source)
        return None if None in parts else parts
    return None


def _file(path: Path) -> tuple[str, int, int, int]:
    found = path.stat()
    return path.name, found.st_mtime_ns, found.st_size, found.st_ino


class Recent(Generic[T]):
    """The last `most` things that were made of sources, by identity. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable | None) -> T | None:
        """What was made of a source that is still the same; None is no key."""
        with self._lock:
            if key is None or key not in self._things:
                return None
            self._things.move_to_end(key)
            return self._things[key]

    def put(self, key: Hashable | None, thing: T) -> None:
        """Remember one; the least recently used go."""
        with self._lock:
            if key is not None:
                self._things[key] = thing
                self._things.move_to_end(key)
            while len(self._things) > self._most:
                self._things.popitem(last=False)
