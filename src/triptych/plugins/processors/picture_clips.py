"""Pictures one after the other as a video: a list of them, or a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from PIL import Image

from triptych.plugins.processors.clips import Limits, VideoError
from triptych.plugins.processors.frames import Timeline
from triptych.plugins.processors.images import open_image
from triptych.plugins.processors.local_files import LocalFile

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""What the names of a folder's frames end in; other files are no frames."""


class Pictures:
    """A clip whose frames are pictures. Nothing says when each is shown.

    pictures: as `open_image` takes them. places: of each, for messages.
    """

    timeline: Timeline | None = None

    def __init__(
        self,
        pictures: Sequence[Any] | npt.NDArray[Any],
        places: Sequence[str],
        named: str,
        limits: Limits,
    ) -> None:
        self.named = named
        self.count = len(pictures)
        self._pictures, self._places = pictures, places
        self._limits = limits
        limits.check_frames(self.count, named)

    def frames(self, indices: Sequence[int]) -> Iterator[Image.Image]:
        """Open and decode these pictures."""
        for index in indices:
            yield open_image(
                self._pictures[index], self._places[index], pixel_limit=self._limits.pixels
            )


def listed(pictures: Sequence[Any] | npt.NDArray[Any], place: str, limits: Limits) -> Pictures:
    """A list of pictures. Raises VideoError for an empty one."""
    if not len(pictures):
        raise VideoError(f"{place}: a video without frames; give at least two pictures")
    return Pictures(pictures, [f"{place}[{i}]" for i in range(len(pictures))], place, limits)


def in_folder(folder: LocalFile, limits: Limits) -> Pictures:
    """The pictures of a folder in the order of their names; numbers count as numbers.

    Raises VideoError when there are none.
    """
    try:
        found = frames_of(folder.path)
    except OSError as error:
        raise folder.unreadable(error) from error
    if not found:
        raise VideoError(
            f"{folder.named} is a folder without pictures; frames are files that end in "
            f"{', '.join(SUFFIXES)}"
        )
    return Pictures(found, [folder.named] * len(found), folder.named, limits)


def frames_of(folder: Path) -> list[Path]:
    """The files of a folder that are frames, in their order. Raises OSError."""
    found = [path for path in folder.iterdir() if _is_frame(path)]
    return sorted(found, key=lambda path: (_numbered(path.name), path.name))


def _is_frame(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _numbered(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts ``frame2`` before ``frame10``."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]
