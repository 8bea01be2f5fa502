"""Video files, by PyAV (FFmpeg), which is an extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import IO, Any

from PIL import Image

from triptych.plugins.processors.clips import Limits, VideoError
from triptych.plugins.processors.frames import Timeline

CONTAINERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg")
"""Formats that are read, by FFmpeg's names. Playlists are not: they name other files."""
CODECS = (
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "libdav1d",
    "av1",
    "mpeg4",
    "mpeg2video",
    "mpeg1video",
    "mjpeg",
)
"""Decoders that may run, by FFmpeg's names; it has hundreds, which few people ever fuzzed."""
PADDING = 2**16
"""Pixels beyond its frames that a decoder may ask for."""
MISCOUNTED = 2
"""How many frames fewer than its header says a sound file may have."""


class VideoFile:
    """A clip in a container that FFmpeg reads. `file` stays open as long as it is used.

    Frames are counted, and their times told, as transformers does with PyAV: the n-th that is
    decoded is at n divided by the average rate.
    """

    def __init__(self, file: IO[bytes], named: str, limits: Limits) -> None:
        self.named = named
        self._file = file
        self._limits = limits
        self._av = _pyav(named)
        with self._opened() as (container, stream):
            limits.check_size(stream.width, stream.height, named)
            # Some containers do not say how many frames they hold; their packets do.
            self.count = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
            rate = stream.average_rate or stream.guessed_rate
        if not self.count or not rate:
            raise VideoError(f"{named} has no frames that are shown one after the other")
        limits.check_frames(self.count, named)
        self.timeline: Timeline | None = Timeline(self.count, float(rate))

    def frames(self, indices: Sequence[int]) -> Iterator[Image.Image]:
        """Decode from the beginning to the last of these frames."""
        with self._opened() as (container, stream):
            decoded = enumerate(container.decode(stream))
            at, frame = -1, None
            for index in indices:
                while at < index:
                    following = next(decoded, None)
                    if following is None:
                        break
                    at, frame = following
                if frame is None or index - at > MISCOUNTED:
                    raise VideoError(
                        f"{self.named} is damaged or incomplete: it has {at + 1} of its "
                        f"{self.count} frames; get it again, or save it anew"
                    )
                yield _upright(frame)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """The container and its first video stream. FFmpeg's errors are told as the file's."""
        self._file.seek(0)
        options = {"format_whitelist": ",".join(CONTAINERS)}
        try:
            with self._av.open(self._file, options=options) as container:
                yield container, self._stream(container)
        except self._av.error.FFmpegError as error:
            raise VideoError(
                f"{self.named} is not a video that can be read, or damaged: {error.strerror}; "
                f"known containers: {', '.join(CONTAINERS)}"
            ) from error

    def _stream(self, container: Any) -> Any:
        if not container.streams.video:
            raise VideoError(f"{self.named} holds no pictures, only sound or text")
        stream = container.streams.video[0]
        codec = stream.codec_context
        if codec is None or codec.name not in CODECS:
            found = "an unknown codec" if codec is None else f"codec {codec.name!r}"
            raise VideoError(
                f"{self.named} is written in {found}, which is not decoded here; known: "
                f"{', '.join(CODECS)}"
            )
        # Frames may grow as they go on; FFmpeg counts some pixels around them, too.
        codec.options = {"max_pixels": str(4 * self._limits.pixels + PADDING)}
        stream.thread_type = "AUTO"
        return stream


def _upright(frame: Any) -> Image.Image:
    """A frame in mode RGB, turned as the camera noted."""
    picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
    # FFmpeg counts degrees as Pillow does; anything but quarters would need a background.
    return picture if frame.rotation % 90 else picture.rotate(frame.rotation, expand=True)


def _pyav(named: str) -> ModuleType:
    try:
        return import_module("av")
    except ImportError as error:
        raise VideoError(
            f"{named} is no animation, and video files need PyAV: pip install 'triptych[video]'"
        ) from error
