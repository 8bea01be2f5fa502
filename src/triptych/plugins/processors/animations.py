"""Animated GIF, WebP and PNG files as videos, by Pillow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

from PIL import Image, UnidentifiedImageError

from triptych.plugins.processors.clips import Limits, VideoError
from triptych.plugins.processors.frames import Timeline
from triptych.plugins.processors.images import FORMATS, open_image, quiet

ANIMATED = ("GIF", "WEBP", "PNG")
"""Formats of animations, by Pillow's names."""
SHORTEST = 10
UNSAID = 100
"""Milliseconds: browsers show a frame that says SHORTEST or less, or nothing, for UNSAID."""


def open_animation(file: IO[bytes], named: str) -> Image.Image | None:
    """The picture in a file, or None when it is no picture.

    Raises VideoError for one that is broken or does not move.
    """
    try:
        with quiet():
            image = Image.open(file, formats=FORMATS)
        count = getattr(image, "n_frames", 1)
    except UnidentifiedImageError:
        return None
    except Exception as error:  # Decoders raise nearly anything on broken files.
        raise VideoError(f"{named} has a broken header: {error}") from error
    if image.format not in ANIMATED or count == 1:
        raise VideoError(f"{named} is a single picture; give it as an image, not as a video")
    return image


class Animation:
    """A clip whose frames and their durations are in one picture file."""

    def __init__(self, image: Image.Image, named: str, limits: Limits) -> None:
        self.named = named
        self.count = int(getattr(image, "n_frames", 1))
        limits.check_frames(self.count, named)
        limits.check_size(image.width, image.height, named)
        self._image = image
        self._limits = limits
        self.timeline: Timeline | None = self._read_timeline()

    def frames(self, indices: Sequence[int]) -> Iterator[Image.Image]:
        """Decode up to the last of these frames; each builds on those before it."""
        for index in indices:
            self._go_to(index)
            named = f"frame {index} of {self.named}"
            yield open_image(self._image.copy(), named, pixel_limit=self._limits.pixels)

    def _read_timeline(self) -> Timeline:
        starts = [0.0]
        for index in range(self.count):
            self._go_to(index)
            said = self._image.info.get("duration") or 0
            starts.append(starts[-1] + (said if said > SHORTEST else UNSAID))
        return Timeline(
            self.count,
            fps=1000 * self.count / starts[-1],
            starts=tuple(start / 1000 for start in starts[:-1]),
        )

    def _go_to(self, index: int) -> None:
        try:
            self._image.seek(index)
            self._image.load()
        except Exception as error:  # As above.
            raise VideoError(
                f"frame {index} of {self.named} is damaged or incomplete: {error}; get the file "
                "again, or save it anew"
            ) from error
