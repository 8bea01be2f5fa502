"""What can be made again, kept in the user's own folder for the next start."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triptych.core.dataclass import dataclass

VARIABLE = "TRIPTYCH_CACHE"
"""The environment variable that names another folder; `off` for none."""
OFF = "off"

_DIGEST_BYTES = 32
_PRIVATE = 0o700
_OTHERS = 0o022


class KeptFilesError(Exception):
    """A folder that cannot be used; why, in words for `triptych doctor`."""


@dataclass(frozen=True)
class KeptFiles:
    """A folder that only its user may read and write.

    most_bytes: what all its files may take; those that were not used for longest go first.
    largest: what one may take.
    """

    folder: Path
    most_bytes: int
    largest: int = sys.maxsize

    @classmethod
    def usual(cls, kind: str, most_bytes: int, largest: int = sys.maxsize) -> KeptFiles | None:
        """Those of a kind in the user's cache, or in the folder that the environment names.

        None where it says `off`.
        """
        named = os.environ.get(VARIABLE, "")
        if named.lower() == OFF:
            return None
        folder = Path(named).expanduser().absolute() if named else _user_folder() / "triptych"
        return cls(folder / kind, most_bytes, largest)

    def of(self, key: bytes) -> KeptFile:
        """The place of what the key's digest tells from everything else."""
        return KeptFile(self, self.folder / hashlib.sha256(key).hexdigest())

    def prepare(self) -> None:
        """Make the folder. Raises KeptFilesError when it cannot be used."""
        try:
            self.folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            state = self.folder.stat()
        except OSError as error:
            raise KeptFilesError(f"{self.folder} cannot be made: {error.strerror}") from error
        if hasattr(os, "geteuid") and state.st_uid != os.geteuid():
            raise KeptFilesError(f"{self.folder} belongs to somebody else")
        if os.name == "posix" and state.st_mode & _OTHERS:
            raise KeptFilesError(f"others may write to {self.folder}; chmod 700 it")
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise KeptFilesError(f"{self.folder} cannot be written to")

    def files(self) -> list[tuple[Path, os.stat_result]]:
        """What is there, the one that was not used for longest first."""
        found = []
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(OSError):
                    found.append((path, path.stat()))
        return sorted(found, key=lambda file: file[1].st_mtime_ns)

    def shrink(self) -> None:
        """Delete what is too much."""
        files = self.files()
        total = sum(state.st_size for _, state in files)
        for path, state in files:
            if total <= self.most_bytes:
                return
            with suppress(OSError):
                path.unlink()
                total -= state.st_size


@dataclass(frozen=True)
class KeptFile:
    """The place of one file. Whatever goes wrong with it is no error: it is not kept."""

    among: KeptFiles
    path: Path

    def read(self) -> bytes | None:
        """What is there, if the folder is the user's own and the content is as it was written."""
        try:
            self.among.prepare()
            whole = self.path.read_bytes()
        except (OSError, KeptFilesError):
            return None
        digest, content = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        with suppress(OSError):
            os.utime(self.path)
        return content

    def write(self, content: bytes) -> None:
        """Keep this from now on."""
        with suppress(OSError), self.writing() as target:
            if target is not None:
                target.write_bytes(content)

    @contextmanager
    def writing(self) -> Iterator[Path | None]:
        """A file to write to, which takes its place when the block ends well, at once or not.

        None where there can be none. One that gets too large is kept empty, so that its user knows.
        """
        target = self._beside()
        try:
            yield target
            if target is not None:
                self._take(target)
        finally:
            if target is not None:
                with suppress(OSError):
                    target.unlink(missing_ok=True)

    def discard(self) -> None:
        """Take it away."""
        with suppress(OSError):
            self.path.unlink()

    def _beside(self) -> Path | None:
        try:
            self.among.prepare()
            handle, name = tempfile.mkstemp(dir=self.among.folder)
            os.close(handle)
        except (OSError, KeptFilesError):
            return None
        return Path(name)

    def _take(self, made: Path) -> None:
        with suppress(OSError):
            fits = made.stat().st_size <= min(self.among.largest, self.among.most_bytes)
            content = made.read_bytes() if fits else b""
            made.write_bytes(hashlib.sha256(content).digest() + content)
            made.replace(self.path)
            self.among.shrink()


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
