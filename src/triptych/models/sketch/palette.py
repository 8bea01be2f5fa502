"""The colours of drawn scenes: eleven names, each with a few shades that people call so."""

from __future__ import annotations

from random import Random

RGB = tuple[int, int, int]

SHADES: dict[str, tuple[RGB, ...]] = {
    "red": ((255, 0, 0), (220, 40, 40), (200, 20, 40), (230, 30, 20)),
    "orange": ((255, 165, 0), (245, 140, 30), (255, 140, 0)),
    "yellow": ((255, 255, 0), (245, 220, 50), (250, 235, 30)),
    "green": ((0, 255, 0), (0, 128, 0), (40, 160, 70), (50, 205, 50)),
    "blue": ((0, 0, 255), (45, 90, 220), (30, 60, 170), (65, 105, 225)),
    "purple": ((128, 0, 128), (130, 60, 180), (120, 30, 160)),
    "pink": ((255, 192, 203), (245, 140, 190), (255, 105, 180)),
    "brown": ((130, 80, 40), (139, 69, 19), (150, 50, 40)),
    "gray": ((128, 128, 128), (150, 150, 150), (110, 112, 115)),
    "black": ((0, 0, 0), (20, 20, 24)),
    "white": ((255, 255, 255), (246, 246, 244)),
}
"""Shades by name; pure and CSS colours first, since people draw with those."""

COLORS = tuple(SHADES)
JITTER = 10
"""How far, per channel, a drawn colour may be from its shade (of 255)."""

MIN_CONTRAST = 80.0
"""Smallest Euclidean RGB distance between two colours drawn onto each other."""

TEXT_CONTRAST = 120.0
"""The same for text, whose strokes are thin."""


def shade(name: str, random: Random) -> RGB:
    """One RGB value that is called `name`; every other time a shade as it is, without jitter."""
    base = random.choice(SHADES[name])
    if random.random() < 0.5:
        return base
    red, green, blue = (
        min(255, max(0, channel + random.randint(-JITTER, JITTER))) for channel in base
    )
    return red, green, blue


def contrast(first: RGB, second: RGB) -> float:
    """Euclidean distance of two colours in RGB, 0 to 441."""
    return float(sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5)


def pick_against(
    others: list[RGB],
    random: Random,
    names: tuple[str, ...] = COLORS,
    least: float = MIN_CONTRAST,
) -> tuple[str, RGB]:
    """A colour name and value at a distance of `least` or more from every one of `others`."""
    while True:
        name = random.choice(names)
        value = shade(name, random)
        if all(contrast(value, other) >= least for other in others):
            return name, value
