"""The folder that a recording is written to."""

from __future__ import annotations

from pathlib import Path

from triptych.recording.index import RecordingError


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
