"""The shapes of drawn scenes, as outlines on the unit square."""

from __future__ import annotations

import math

Point = tuple[float, float]


def _ring(corners: int, radius: float = 1.0, turn: float = -math.pi / 2) -> list[Point]:
    return [
        (
            radius * math.cos(turn + 2 * math.pi * corner / corners),
            radius * math.sin(turn + 2 * math.pi * corner / corners),
        )
        for corner in range(corners)
    ]


def _star() -> list[Point]:
    outer, inner = _ring(5), _ring(5, 0.42, -math.pi / 2 + math.pi / 5)
    return [point for pair in zip(outer, inner, strict=True) for point in pair]


def _cross() -> list[Point]:
    a = 0.34
    return [
        (-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a),
        (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a),
    ]  # fmt: skip


def _heart() -> list[Point]:
    points = []
    for step in range(40):
        t = 2 * math.pi * step / 40
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 16, -(y + 2.5) / 14.5))
    return points


def _moon() -> list[Point]:
    outer = [
        (math.cos(a), math.sin(a))
        for a in (math.radians(60 + 240 * step / 24) for step in range(25))
    ]
    tip_x, tip_y = outer[0]
    middle = 0.62
    radius = math.hypot(tip_x - middle, tip_y)
    bend = math.atan2(tip_y, tip_x - middle)
    inner = [
        (middle + radius * math.cos(a), radius * math.sin(a))
        for a in (-bend - (2 * math.pi - 2 * bend) * step / 20 for step in range(1, 20))
    ]
    return [(x + 0.2, y) for x, y in outer + inner]


OUTLINES: dict[str, list[Point]] = {
    "circle": _ring(48),
    "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
    "triangle": [(0.0, -0.95), (1.0, 0.85), (-1.0, 0.85)],
    "star": _star(),
    "diamond": [(0.0, -1.0), (0.8, 0.0), (0.0, 1.0), (-0.8, 0.0)],
    "cross": _cross(),
    "heart": _heart(),
    "moon": _moon(),
}
"""Corner points by name, x to the right and y down, within -1 to 1."""

SHAPES = tuple(OUTLINES)


def outline(name: str, center: Point, radius: float, turn: float = 0.0) -> list[Point]:
    """The corners of a shape in pixels, turned by `turn` radians about its centre."""
    cos, sin = math.cos(turn), math.sin(turn)
    return [
        (center[0] + radius * (x * cos - y * sin), center[1] + radius * (x * sin + y * cos))
        for x, y in OUTLINES[name]
    ]
