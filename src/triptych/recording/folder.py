"""The folder that a recording is written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triptych.recording.index import RecordingError


class NotWritten(RecordingError):
    """A recording that cannot be written on: the disk is full, or broken."""

    exit_code = 1


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises NotWritten for what the system raises inside."""
    try:
        yield
    except OSError as error:
        raise NotWritten(
            f"{folder}: the recording cannot be written: {error.strerror}; make room there, or "
            "record to another place"
        ) from error


def claim(folder: Path) -> Path:
    """Make the folder, which is to be new or empty. Raises RecordingError."""
    check_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordingError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def check_free(folder: Path) -> None:
    """Raises RecordingError for a folder that has something in it."""
    if folder.is_dir() and next(folder.iterdir(), None) is None:
        return
    if folder.exists():
        raise RecordingError(f"{folder} exists and is not empty; name another folder, or remove it")
