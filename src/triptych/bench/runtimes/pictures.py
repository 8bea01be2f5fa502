"""Pictures of noise, the same for everybody who asks for the same seed."""

from __future__ import annotations

from typing import Any


def noise(width: int, height: int, seed: int) -> Any:
    """A picture, uint8 [height, width, 3], as a numpy array."""
    import numpy as np

    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
