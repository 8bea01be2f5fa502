"""Picture sizes: which are drawn, and what the image processor makes of them."""

from __future__ import annotations

import math
from random import Random

PATCH = 16
MERGE = 2
PLACE = PATCH * MERGE
"""Side in pixels of what one visual token sees."""

MIN_PIXELS = 64 * 64
MAX_PIXELS = 192 * 192
MIN_SIDE = 64
MAX_SIDE = 448

Size = tuple[int, int]
"""Height and width in pixels."""


def resized(size: Size) -> Size:
    """Height and width after the image processor (multiples of 32, area within the bounds).

    The rule of Qwen2-VL (arXiv 2409.12191, section 2.1) as `Qwen2VLImageProcessor` applies it.
    """
    height, width = size
    rows, columns = round(height / PLACE), round(width / PLACE)
    area = rows * columns * PLACE * PLACE
    if area > MAX_PIXELS:
        # In this order of divisions, or a square may come out one place smaller than it should.
        shrink = math.sqrt(height * width / MAX_PIXELS)
        rows = max(1, math.floor(height / shrink / PLACE))
        columns = max(1, math.floor(width / shrink / PLACE))
    elif area < MIN_PIXELS:
        grow = math.sqrt(MIN_PIXELS / (height * width))
        rows, columns = math.ceil(height * grow / PLACE), math.ceil(width * grow / PLACE)
    return rows * PLACE, columns * PLACE


def places(size: Size) -> int:
    """How many visual tokens a picture of this size becomes."""
    height, width = resized(size)
    return (height // PLACE) * (width // PLACE)


def draw_size(random: Random, side: int, *, any_size: bool = False) -> Size:
    """A picture size: both sides up to `side`, or (`any_size`) now and then large or oblong."""
    kind = random.random() if any_size else 1.0
    if kind < 0.08:
        return random.randint(side, MAX_SIDE), random.randint(side, MAX_SIDE)
    if kind < 0.16:
        short, long = random.randint(MIN_SIDE, 128), random.randint(side, MAX_SIDE)
        return (short, long) if random.random() < 0.6 else (long, short)
    if random.random() < 0.2:
        same = random.randint(MIN_SIDE, side)
        return same, same
    return random.randint(MIN_SIDE, side), random.randint(MIN_SIDE, side)
