"""Pictures cut into patches: one row of normalised colours for each, in merged order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from triptych.plugins.processors.colours import CHANNELS

if TYPE_CHECKING:
    from PIL.Image import Image

Plane = npt.NDArray[np.uint8]
"""One channel of a picture: uint8 [height, width], C-contiguous."""


def channel_bytes(image: Image) -> tuple[bytes, ...]:
    """The bytes of each channel of an RGB picture, row by row.

    Pillow keeps four bytes for a pixel; channels cost less to take out than pixels do.
    """
    return tuple(channel.tobytes() for channel in image.split())


def planes_of(channels: Sequence[bytes], width: int) -> list[Plane]:
    """What `channel_bytes` gave, as arrays."""
    return [np.frombuffer(channel, np.uint8).reshape(-1, width) for channel in channels]


def patch_rows(
    frames: Sequence[Sequence[Plane]],
    table: npt.NDArray[np.float32],
    *,
    side: int,
    merge: int,
    steps: int,
) -> npt.NDArray[np.float32]:
    """Float32 [patches, features] of frames, each given as its channels.

    table: f32 [channels, 256], what each value becomes. side: pixels of a patch's side; merge:
        patches of a merged row's side; height and width are multiples of their product.
    steps: frames in a patch; a single frame fills them all, of several there is a multiple.

    Patches come `steps` frames after `steps` frames, and within these merged row by merged
    row; a patch's features are channel, time, y, x.
    """
    height, width = frames[0][0].shape
    rows, columns = height // (side * merge), width // (side * merge)
    groups = max(len(frames) // steps, 1)
    in_row = columns * merge**2
    values = np.empty((groups, rows, in_row, CHANNELS, steps, side**2), np.float32)
    # A row of merged rows at a time, so that what lies between the planes and the values stays
    # in the processor's cache. numpy takes indices of its own type only.
    indices = np.empty((in_row, side**2), np.intp)
    colours = np.empty((in_row, side**2), np.float32)
    for index, planes in enumerate(frames):
        group, step = divmod(index, steps)
        filled = slice(None) if len(frames) == 1 else slice(step, step + 1)
        for channel, plane in enumerate(planes):
            lines = plane.view(f"V{side}").reshape(rows, merge, side, columns, merge)
            for row in range(rows):
                patches = np.ascontiguousarray(lines[row].transpose(2, 0, 3, 1))
                indices[:] = patches.view(np.uint8).reshape(indices.shape)
                np.take(table[channel], indices, out=colours, mode="clip")
                values[group, row, :, channel, filled] = colours[:, None]
    return values.reshape(groups * rows * in_row, -1)
