"""The pictures and videos of a request, kept beside its answer, and found again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.config.digests import sha256
from triptych.core.request import Request
from triptych.core.requests.request_media import with_media
from triptych.recording.folder import writing
from triptych.recording.index import RecordingError

FOLDER = "media"
"""Of a recording: where copies lie."""

_PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")

LARGEST = 64 * 2**20
"""Bytes up to which a video is copied; of a larger one, and of a folder, the path is noted."""

KEY, UNKEPT = "kept", "unkept"
"""What marks a medium in a manifest, and one that is of no kind that can be kept."""


@dataclass
class Keeper:
    """Copies the media of one request to a recording's folder.

    Each becomes ``{"kept": "media/0.png", "sha256": ...}``, or what is not copied
    ``{"path": ..., "sha256": ...}``. Of what only its processor knows, the type is noted.
    """

    folder: Path
    _count: int = field(default=0, init=False)

    def request(self, request: Request) -> dict[str, Any]:
        """The request as a manifest has it."""
        kept = with_media(request, lambda value, kind, _place: self.keep(value, kind))
        said: dict[str, Any] = {}
        if kept.messages is not None:
            said["messages"] = kept.messages
        else:
            said["text"] = kept.text
        if kept.system is not None:
            said["system"] = kept.system
        if kept.images:
            said["images"] = kept.images
        if kept.videos:
            said["videos"] = kept.videos
        if kept.id is not None:
            said["id"] = kept.id
        return said

    def keep(self, given: Any, kind: str) -> Any:
        """One medium: a path, bytes, a PIL image or an array; for a video perhaps a list."""
        if isinstance(given, str | PathLike):
            return self._file(Path(given))
        if isinstance(given, bytes | bytearray):
            return self._bytes(bytes(given), "")
        if kind == "video" and isinstance(given, list | tuple):
            return [self.keep(one, "image") for one in given]
        png = _as_png(given)
        return {UNKEPT: type(given).__name__} if png is None else self._bytes(png, ".png")

    def _file(self, path: Path) -> Any:
        if path.is_dir():
            return {"path": str(path.absolute()), "sha256": _of_folder(path)}
        if not path.is_file():
            return str(path)
        if path.stat().st_size > LARGEST:
            return {"path": str(path.absolute()), "sha256": sha256(path)}
        return self._bytes(path.read_bytes(), path.suffix)

    def _bytes(self, content: bytes, suffix: str) -> dict[str, str]:
        name = f"{FOLDER}/{self._count}{suffix}"
        self._count += 1
        place = self.folder / name
        with writing(self.folder):
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(content)
        return {KEY: name, "sha256": hashlib.sha256(content).hexdigest()}


@dataclass
class Finder:
    """Finds the media of a manifest again.

    changed: what is not as it was, in words. elsewhere: those of it that lie outside of the
    recording's folder. Raises RecordingError for what could not be kept.
    """

    folder: Path
    changed: list[str] = field(default_factory=list)
    elsewhere: list[Path] = field(default_factory=list)

    def request(self, said: Mapping[str, Any]) -> Request:
        """The request again."""
        request = Request(
            said.get("text"),
            said.get("messages"),
            said.get("images", ()),
            said.get("system"),
            id=said.get("id"),
            videos=said.get("videos", ()),
        )
        return with_media(request, lambda value, _kind, _place: self.find(value))

    def find(self, said: Any) -> Any:
        """One medium."""
        if isinstance(said, list):
            return [self.find(one) for one in said]
        if not isinstance(said, Mapping):
            return said
        if UNKEPT in said:
            raise RecordingError(
                f"{self.folder}: the request showed a {said[UNKEPT]}, which could not be kept; "
                "it cannot be made again"
            )
        path = self._inside(said[KEY]) if KEY in said else Path(said["path"])
        if not path.exists():
            self.changed.append(f"{path} is not there any more")
        elif (_of_folder(path) if path.is_dir() else sha256(path)) != said["sha256"]:
            self.changed.append(f"{path} is another picture or video")
            if KEY not in said:
                self.elsewhere.append(path)
        return str(path)

    def _inside(self, name: str) -> Path:
        """A file of the recording."""
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise RecordingError(f"{self.folder}: {name!r} is no file of this recording")
        return path


def _of_folder(path: Path) -> str:
    """A digest of the files of a folder, by name."""
    hasher = hashlib.sha256()
    for file in sorted(one for one in path.iterdir() if one.is_file()):
        hasher.update(f"{file.name}\n{sha256(file)}\n".encode())
    return hasher.hexdigest()


def _as_png(given: Any) -> bytes | None:
    """A PIL image or a uint8 array [height, width, 3], without loss; None for anything else."""
    from PIL import Image

    if isinstance(given, np.ndarray) and given.dtype == np.uint8:
        given = Image.fromarray(given)
    if not isinstance(given, Image.Image):
        return None
    image = given if given.mode in _PNG_MODES else given.convert("RGBA")
    content = BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
