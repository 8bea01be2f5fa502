"""Videos as people give them: folders, lists, animations and video files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from os import PathLike, fspath
from typing import IO

import numpy as np

from triptych.plugins.processors.animations import Animation, open_animation
from triptych.plugins.processors.clips import Clip, Limits, VideoError
from triptych.plugins.processors.local_files import LocalFile
from triptych.plugins.processors.picture_clips import in_folder, listed
from triptych.plugins.processors.video_files import VideoFile


@contextmanager
def open_video(source: object, place: str, limits: Limits) -> Iterator[Clip]:
    """A video, not decoded yet; its frames can be had until the context ends.

    source: the path of a folder of pictures, of an animation (GIF, WebP, PNG) or of a video
        file; such a file's bytes; or the frames: pictures as `open_image` takes them, in a
        list or an array [frames, height, width, 3].
    place: where it stands in the request, for messages.

    Raises VideoError.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield _from_file(BytesIO(source), f"{place} ({len(source):,} bytes)", limits)
    elif isinstance(source, (str, PathLike)):
        found = LocalFile(fspath(source), place, things="videos", error=VideoError)
        if found.is_folder:
            yield in_folder(found, limits)
            return
        try:
            file = found.path.open("rb")
        except OSError as error:
            raise found.unreadable(error) from error
        with file:
            yield _from_file(file, found.named, limits)
    elif isinstance(source, (Sequence, np.ndarray)):
        yield listed(source, place, limits)
    else:
        raise VideoError(
            f"{place}: {type(source).__name__} is not a video; give the path of a folder of "
            "pictures, of an animation or of a video file, or a list of pictures"
        )


def _from_file(file: IO[bytes], named: str, limits: Limits) -> Clip:
    """An animation that Pillow reads, or else what PyAV makes of it."""
    image = open_animation(file, named)
    if image is not None:
        return Animation(image, named, limits)
    file.seek(0)
    return VideoFile(file, named, limits)
