"""Pictures cut into patches: one row of normalised colours for each, in merged order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from triptych.plugins.processors.colours import CHANNELS


def patch_rows(
    frames: npt.NDArray[np.uint8],
    table: npt.NDArray[np.float32],
    *,
    side: int,
    merge: int,
    steps: int,
) -> npt.NDArray[np.float32]:
    """Float32 [patches, features] of frames uint8 [time, height, width, channels].

    table: f32 [channels, 256], what each value becomes. side: pixels of a patch's side; merge:
        patches of a merged row's side; height and width are multiples of their product.
    steps: frames in a patch; a single frame fills them all, of several there is a multiple.

    Patches come `steps` frames after `steps` frames, and within these merged row by merged
    row; a patch's features are channel, time, y, x.
    """
    time, height, width, _ = frames.shape
    rows, columns = height // (side * merge), width // (side * merge)
    groups = max(time // steps, 1)
    values = np.empty((groups, rows * columns * merge**2, CHANNELS, steps, side**2), np.float32)
    for index, frame in enumerate(frames):
        group, step = divmod(index, steps)
        filled = slice(None) if time == 1 else slice(step, step + 1)
        blocks = frame.reshape(rows, merge, side, columns, merge, side, CHANNELS)
        patches = blocks.transpose(0, 3, 1, 4, 6, 2, 5).reshape(-1, CHANNELS, 1, side**2)
        for channel in range(CHANNELS):
            values[group, :, channel, filled] = table[channel][patches[:, channel]]
    return values.reshape(groups * rows * columns * merge**2, -1)
