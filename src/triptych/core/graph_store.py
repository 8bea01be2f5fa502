"""Graphs as ONNX Runtime has optimised them, kept on disk for the next start.

An entry holds no weights but the few that were folded: it refers to the graph's own data files.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triptych.core.dataclass import dataclass

VARIABLE = "TRIPTYCH_CACHE"
"""The environment variable that names another folder; `off` for none."""
OFF = "off"

MOST_BYTES = 256 * 2**20
"""What all entries may take; those that were not used for longest go first."""
_LARGEST_ENTRY = 32 * 2**20
"""A graph with more in it has weights that were converted; reading them twice saves nothing."""
NOT_KEPT = b""
"""The content of an entry for such a graph, which is then not written again at each start."""
LEAST_WEIGHTS = 64 * 2**20
"""Graphs with less beside them open in less time than an entry takes to be checked."""

SUFFIX = ".graph"
_DIGEST_BYTES = 32
_PRIVATE = 0o700
_OTHERS = 0o022


class StoreError(Exception):
    """A folder that cannot be used; why, in words for `triptych doctor`."""


@dataclass(frozen=True)
class Stored:
    """The place of one graph. content: what is there, if it is whole; perhaps `NOT_KEPT`."""

    store: GraphStore
    path: Path
    content: bytes | None

    def discard(self) -> None:
        """Take the entry away."""
        with suppress(OSError):
            self.path.unlink()

    @contextmanager
    def writing(self) -> Iterator[Path | None]:
        """A file to write the graph to, which becomes the entry when the block ends well.

        None where there can be none. A file that is left empty, or too large, makes the entry
        `NOT_KEPT`. Whatever goes wrong with the file is no error.
        """
        target = self.store.temporary()
        try:
            yield target
            if target is not None:
                self.store.keep(target, self.path)
        finally:
            if target is not None:
                with suppress(OSError):
                    target.unlink(missing_ok=True)


@dataclass(frozen=True)
class GraphStore:
    """A folder of entries that only its user may read and write."""

    folder: Path
    most_bytes: int = MOST_BYTES

    @classmethod
    def usual(cls) -> GraphStore | None:
        """The user's own, or the one that the environment names; None where it says `off`."""
        named = os.environ.get(VARIABLE)
        if named == OFF:
            return None
        return cls(Path(named) / "graphs" if named else _user_folder() / "triptych" / "graphs")

    def find(self, graph: Path, weights: Iterable[str], made_by: str) -> Stored | None:
        """Where the optimised form of a graph is, or would be; None if keeping it does not pay.

        weights: names of the data files beside it. made_by: what else the form depends on.
        A graph is known by its content, its data files by their places, sizes and times.
        """
        try:
            files = [(graph.parent / name).resolve() for name in sorted(weights)]
            states = [file.stat() for file in files]
            if sum(state.st_size for state in states) < LEAST_WEIGHTS:
                return None
            if graph.stat().st_size > _LARGEST_ENTRY:
                return None
            key = hashlib.sha256(graph.read_bytes())
        except OSError:
            return None
        for file, state in zip(files, states, strict=True):
            key.update(f"\0{file}\0{' '.join(map(str, version_of(state)))}".encode())
        key.update(f"\0{made_by}".encode())
        path = self.folder / f"{key.hexdigest()}{SUFFIX}"
        return Stored(self, path, self.read(path))

    def prepare(self) -> None:
        """Make the folder. Raises StoreError when it cannot be used."""
        try:
            self.folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            state = self.folder.stat()
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be made: {error.strerror}") from error
        if hasattr(os, "geteuid") and state.st_uid != os.geteuid():
            raise StoreError(f"{self.folder} belongs to somebody else")
        if os.name == "posix" and state.st_mode & _OTHERS:
            raise StoreError(f"others may write to {self.folder}; chmod 700 it")
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise StoreError(f"{self.folder} cannot be written to")

    def entries(self) -> list[tuple[Path, os.stat_result]]:
        """The entries, the one that was not used for longest first."""
        found = []
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(OSError):
                    if path.suffix == SUFFIX:
                        found.append((path, path.stat()))
        return sorted(found, key=lambda entry: entry[1].st_mtime_ns)

    def temporary(self) -> Path | None:
        """A new file to write to; None where none can be made."""
        try:
            self.prepare()
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            os.close(handle)
        except (OSError, StoreError):
            return None
        return Path(name)

    def keep(self, made: Path, path: Path) -> None:
        """Put what was written to `made` at `path`, at once or not at all, with its digest."""
        with suppress(OSError):
            fits = made.stat().st_size <= min(_LARGEST_ENTRY, self.most_bytes)
            content = made.read_bytes() if fits else NOT_KEPT
            made.write_bytes(hashlib.sha256(content).digest() + content)
            made.replace(path)
            self._shrink()

    def read(self, path: Path) -> bytes | None:
        """An entry's content, if the folder is private to the user and the digest is right."""
        try:
            self.prepare()
            whole = path.read_bytes()
        except (OSError, StoreError):
            return None
        digest, content = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        with suppress(OSError):
            os.utime(path)
        return content

    def _shrink(self) -> None:
        entries = self.entries()
        total = sum(state.st_size for _, state in entries)
        for path, state in entries:
            if total <= self.most_bytes:
                return
            with suppress(OSError):
                path.unlink()
                total -= state.st_size


def version_of(state: os.stat_result) -> list[int]:
    """What tells a version of a file from another one without its content being read."""
    return [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _user_folder() -> Path:
    """Where the system keeps what programs can make again."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
