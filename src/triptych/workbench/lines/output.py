"""The file that records are appended to: one writer, whole lines, whatever happens."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, Self

from triptych.core.errors import InputError, TriptychError
from triptych.workbench.lines.record import read_record

_BUSY = (errno.EACCES, errno.EAGAIN)


class OutputError(TriptychError):
    """A record cannot be written: the disk is full, or broken."""

    exit_code = 1


@dataclass(frozen=True)
class Done:
    """What an output holds. records, failed: how many. line: the number of the last one's.

    end: bytes of whole records; what follows was torn off.
    """

    records: int = 0
    failed: int = 0
    line: int = 0
    end: int = 0


class Output(Protocol):
    """Takes records."""

    def write(self, content: bytes) -> None:
        """Append a record."""
        ...


class OutputStream:
    """What cannot be read again, such as stdout: each record is passed on at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, content: bytes) -> None:
        """See `Output`; raises OSError."""
        self._file.write(content)
        self._file.flush()


class OutputFile:
    """A regular file, which belongs to one process while it is open; or something to write to.

    resumable: it is a regular file, whose records can be read again.
    """

    def __init__(self, path: Path, handle: int, *, resumable: bool) -> None:
        self.path = path
        self.resumable = resumable
        self._handle = handle
        self._end = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open it, or make an empty one. Raises InputError, also while another process has it."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            regular = stat.S_ISREG(os.fstat(handle).st_mode)
            if regular:
                _lock(handle, path)
        except BaseException:
            os.close(handle)
            raise
        return cls(path, handle, resumable=regular)

    @property
    def size(self) -> int:
        """Bytes that it holds; 0 for what is no regular file."""
        return os.fstat(self._handle).st_size if self.resumable else 0

    def done(self) -> Done:
        """Read the records that it holds. Raises InputError for what is no record."""
        records = failed = line = end = 0
        with os.fdopen(os.dup(self._handle), "rb") as file:
            file.seek(0)
            for content in file:
                if not content.endswith(b"\n"):
                    break
                found = read_record(content)
                if found is None or found[0] <= line:
                    raise InputError(
                        f"{self.path}: line {records + 1} is not what triptych batch wrote there; "
                        "name another output, or remove this one to begin anew"
                    )
                line = found[0]
                records += 1
                failed += found[1]
                end += len(content)
        return Done(records, failed, line, end)

    def go_on(self, end: int) -> None:
        """Cut off what follows the first `end` bytes, and append from there."""
        if self.resumable:
            os.ftruncate(self._handle, end)
            os.lseek(self._handle, end, os.SEEK_SET)
        self._end = end

    def write(self, content: bytes) -> None:
        """Append a record, in whole or not at all. Raises OutputError."""
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            with suppress(OSError):
                self.go_on(self._end)
            remedy = "; make room, and the same command goes on" if self.resumable else ""
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror}{remedy}"
            ) from error
        self._end += len(content)

    def close(self) -> None:
        """Have the system write it to the disk, and let others have it. Safe to call twice."""
        if self._handle >= 0:
            with suppress(OSError):
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lock(handle: int, path: Path) -> None:
    """Refuse a file that another process writes; where there are no locks, people take care."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return
    except OSError as error:
        if error.errno in _BUSY:
            raise InputError(
                f"{path}: another process is writing it; wait for that, or name another output"
            ) from error
