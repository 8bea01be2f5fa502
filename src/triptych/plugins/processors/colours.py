"""What the eight-bit colours of a picture become for a model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CHANNELS = 3

Triple = tuple[float, float, float]


def colour_table(
    factor: float | None, mean: Triple | None, std: Triple | None
) -> npt.NDArray[np.float32]:
    """What each of the 256 values of each channel becomes: f32 [channels, 256].

    factor: what values are multiplied by, unless None. mean, std: what is then taken off and
    divided by, unless None. The steps and their rounding are transformers': scaled in float64,
    then all in float32.
    """
    levels = np.tile(np.arange(256, dtype=np.float64), (CHANNELS, 1))
    if factor is not None:
        levels *= factor
    table = levels.astype(np.float32)
    if mean is not None and std is not None:
        table = (table - np.array(mean, np.float32)[:, None]) / np.array(std, np.float32)[:, None]
    return table
