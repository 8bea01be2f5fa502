"""What a video is, wherever its frames come from, and how large one may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from triptych.core.dataclass import dataclass
from triptych.core.errors import InputError
from triptych.plugins.processors.frames import Timeline

if TYPE_CHECKING:
    from PIL.Image import Image


class VideoError(InputError):
    """A video that cannot be used; the message names it, the cause and the remedy."""


@dataclass(frozen=True)
class Limits:
    """frames: of the longest video. pixels: of its largest frame. Checked before decoding."""

    frames: int
    pixels: int

    def check_frames(self, count: int, named: str) -> None:
        """Raises VideoError when there are too many frames."""
        if count > self.frames:
            raise VideoError(
                f"{named} has {count:,} frames, more than the limit of {self.frames:,}; cut it, "
                "or raise processor.frame_limit"
            )

    def check_size(self, width: int, height: int, named: str) -> None:
        """Raises VideoError when a frame is too large, or has no pixels."""
        if width * height > self.pixels:
            raise VideoError(
                f"{named} has frames of {width} x {height} pixels, more than the limit of "
                f"{self.pixels:,}; shrink it, or raise processor.pixel_limit"
            )
        if width * height == 0:
            raise VideoError(f"{named} has no pixels")


class Clip(Protocol):
    """A video whose frames are decoded as they are asked for.

    named: its place in the request, and its file. count: how many frames there are.
    timeline: when they are shown; None where nothing says.
    """

    named: str
    count: int
    timeline: Timeline | None

    def frames(self, indices: Sequence[int]) -> Iterator[Image]:
        """These frames, upright, in mode RGB. indices: increasing, each below `count`.

        Raises InputError when one cannot be decoded.
        """
        ...
