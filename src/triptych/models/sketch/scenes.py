"""Drawn scenes: shapes and texts on a plain ground, or one pattern over the whole picture.

A scene is drawn together with what is true about it. What would be doubtful is not drawn: centres
keep away from the borders of the 3x3 grid that names positions, colours keep their distance,
and sizes are chosen for what is left after the image processor has shrunk the picture.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from triptych.core.errors import TriptychError
from triptych.models.sketch.palette import COLORS, RGB, TEXT_CONTRAST, pick_against, shade
from triptych.models.sketch.shapes import SHAPES, Point, outline
from triptych.models.sketch.sizes import Size, resized

POSITIONS = (
    "top left", "top", "top right",
    "left", "center", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
"""Names of the 3x3 grid's cells, in reading order."""

CLEAR = ((0.0, 0.28), (0.38, 0.62), (0.72, 1.0))
"""Where the centre of something may be, as a share of the side, to be named without doubt."""

WORDS = (
    "go", "no", "up", "on", "yes", "cat", "dog", "sun", "hot", "ice", "box", "key",
    "map", "bus", "open", "stop",
    "exit", "fish", "tree", "book", "hello", "start", "apple", "house",
)  # fmt: skip

STRIPES = ("horizontal stripes", "vertical stripes", "diagonal stripes")
PATTERNS = ("checkerboard", *STRIPES, "gradient", "plain")
DIRECTIONS = (("left", "right"), ("top", "bottom"))
"""Of gradients: told in reading order, or each would have two right descriptions."""

SMALL = (0.17, 0.22)
LARGE = (0.31, 0.38)
"""Diameters of small and large things, as shares of the shorter side."""

MIN_DIAMETER = 15.0
"""Smallest diameter of a shape, in pixels that the model sees."""

MIN_FONT, MAX_FONT = 30.0, 60.0
"""Font sizes in pixels that the model sees; a digit is 0.72 of that high."""

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
CONTENTS = ("nothing", *SHAPES, *PATTERNS, *LETTERS)
"""What a patch can be said to show (labels of the auxiliary heads)."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Item:
    """One thing in a scene. `kind` is shape, word or number; `name` the shape or the text."""

    kind: str
    name: str
    color: str
    position: str
    size: str | None
    """small or large; None where neither is clearly so."""
    diameter: float
    """In pixels of the picture."""
    box: Box
    """Left, top, right, bottom in pixels of the picture."""


@dataclass(frozen=True)
class Pattern:
    """A pattern over the whole picture; a gradient runs from colors[0] at direction[0]."""

    kind: str
    colors: tuple[str, ...]
    direction: tuple[str, str] | None = None


@dataclass(frozen=True)
class Mark:
    """An area of the picture and what it shows, for the labels of patches."""

    content: str
    color: str | None
    corners: tuple[Point, ...]


@dataclass
class Scene:
    """A picture and the truth about it. Items are in reading order."""

    image: Image.Image
    background: str | None
    items: list[Item] = field(default_factory=list)
    pattern: Pattern | None = None
    marks: list[Mark] = field(default_factory=list)

    @property
    def shapes(self) -> list[Item]:
        """The items that are shapes."""
        return [item for item in self.items if item.kind == "shape"]

    @property
    def texts(self) -> list[Item]:
        """The items that are words or numbers."""
        return [item for item in self.items if item.kind != "shape"]


class FontError(TriptychError):
    """Texts cannot be drawn."""


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise FontError("Pillow was built without FreeType; install its wheel from PyPI")
    return font


class _Canvas:
    """A picture being drawn; smooth edges come from drawing at twice the size."""

    def __init__(self, size: Size, ground: RGB, *, smooth: bool) -> None:
        self.height, self.width = size
        seen_height, seen_width = resized(size)
        self.shrink = min(seen_height / self.height, seen_width / self.width)
        """Pixels that the model sees per pixel drawn, in the worse direction."""
        self.zoom = 2 if smooth else 1
        self.image = Image.new("RGB", (self.width * self.zoom, self.height * self.zoom), ground)
        self.draw = ImageDraw.Draw(self.image)
        self.taken: list[tuple[str, Box]] = []

    @property
    def side(self) -> int:
        return min(self.height, self.width)

    def polygon(self, corners: Sequence[Point], fill: RGB) -> None:
        self.draw.polygon([(x * self.zoom, y * self.zoom) for x, y in corners], fill=fill)

    def text(self, text: str, box: Box, font_size: int, fill: RGB) -> None:
        font = _font(font_size * self.zoom)
        left, top, _, _ = font.getbbox(text)
        self.draw.text(
            (box[0] * self.zoom - left, box[1] * self.zoom - top), text, font=font, fill=fill
        )

    def finish(self) -> Image.Image:
        if self.zoom == 1:
            return self.image
        return self.image.resize((self.width, self.height), Image.Resampling.BOX)

    def place(self, width: float, height: float, random: Random) -> tuple[str, Box] | None:
        """A free spot for a box whose centre has a clear position name of its own."""
        used = {position for position, _ in self.taken}
        gap = 2.0 / self.shrink
        low_x, high_x = width / 2 + 1, self.width - width / 2 - 1
        low_y, high_y = height / 2 + 1, self.height - height / 2 - 1
        if low_x > high_x or low_y > high_y:
            return None
        for _ in range(30):
            x, y = random.uniform(low_x, high_x), random.uniform(low_y, high_y)
            position = position_of(x / self.width, y / self.height)
            if position is None or position in used:
                continue
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            if all(_apart(box, other, gap) for _, other in self.taken):
                self.taken.append((position, box))
                return position, box
        return None


def _apart(first: Box, second: Box, gap: float) -> bool:
    return (
        first[2] + gap < second[0]
        or second[2] + gap < first[0]
        or first[3] + gap < second[1]
        or second[3] + gap < first[1]
    )


def position_of(x: float, y: float) -> str | None:
    """The name of a place given as shares of width and height; None near the grid's lines."""
    cells = [
        [index for index, (low, high) in enumerate(CLEAR) if low <= share <= high]
        for share in (y, x)
    ]
    if not cells[0] or not cells[1]:
        return None
    return POSITIONS[3 * cells[0][0] + cells[1][0]]


def _add_shape(
    canvas: _Canvas, scene: Scene, random: Random, ground: RGB, *, alone: bool,
    name: str | None = None, color: str | None = None,
) -> None:  # fmt: skip
    smallest = MIN_DIAMETER / canvas.shrink
    size: str | None = None
    if alone and random.random() < 0.65:
        diameter = canvas.side * random.uniform(0.3, 0.85)
    else:
        size = random.choice(("small", "large"))
        if size == "small" and canvas.side * SMALL[0] < smallest:
            size = "large"
        diameter = canvas.side * random.uniform(*(SMALL if size == "small" else LARGE))
    diameter = max(diameter, smallest)
    name = name or random.choice(SHAPES)
    fill = shade(color, random) if color else (0, 0, 0)
    if color is None:
        color, fill = pick_against([ground], random)
    spot = canvas.place(diameter, diameter, random)
    if spot is None:
        return
    position, box = spot
    center = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    turn = random.uniform(-0.2, 0.2) if random.random() < 0.4 else 0.0
    radius = diameter / 2 * (0.93 if turn else 1.0)
    corners = outline(name, center, radius, turn)
    canvas.polygon(corners, fill)
    scene.items.append(Item("shape", name, color, position, size, diameter, box))
    scene.marks.append(Mark(name, color, tuple(corners)))


def _number(random: Random) -> str:
    digits = random.choices((1, 2, 3), (2, 4, 4))[0]
    return str(random.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1))


def _add_text(canvas: _Canvas, scene: Scene, random: Random, ground: RGB, *, kind: str) -> None:
    color, fill = pick_against([ground], random, least=TEXT_CONTRAST)
    for _ in range(8):
        text = _number(random) if kind == "number" else random.choice(WORDS)
        if kind == "word" and random.random() < 0.4:
            text = text.upper()
        seen = MIN_FONT + (MAX_FONT - MIN_FONT) * random.random() ** 1.7
        font_size = max(1, round(seen / canvas.shrink))
        font = _font(font_size)
        left, top, right, bottom = font.getbbox(text)
        spot = canvas.place(right - left, bottom - top, random)
        if spot is not None:
            break
    else:
        return
    position, box = spot
    canvas.text(text, box, font_size, fill)
    scene.items.append(Item(kind, text, color, position, None, float(font_size), box))
    for index, letter in enumerate(text):
        start = box[0] - left + font.getlength(text[:index])
        end = box[0] - left + font.getlength(text[: index + 1])
        corners = ((start, box[1]), (end, box[1]), (end, box[3]), (start, box[3]))
        scene.marks.append(Mark(letter.lower(), color, corners))


def _ground(random: Random) -> tuple[str, RGB]:
    kind = random.random()
    if kind < 0.55:
        return "white", shade("white", random)
    name = "black" if kind < 0.67 else random.choice(COLORS)
    return name, shade(name, random)


def _finish(canvas: _Canvas, scene: Scene) -> Scene:
    scene.image = canvas.finish()
    scene.items.sort(key=lambda item: POSITIONS.index(item.position))
    return scene


def _begin(size: Size, random: Random) -> tuple[_Canvas, Scene, RGB]:
    name, ground = _ground(random)
    canvas = _Canvas(size, ground, smooth=random.random() < 0.5)
    return canvas, Scene(canvas.image, name), ground


NUMBERS = (28, 26, 26, 14, 6)
"""How often a scene is meant to have one, two, three, four or five shapes, of 100."""


def draw_shapes(
    size: Size, random: Random, *, count: int | None = None, numbers: tuple[int, ...] = NUMBERS
) -> Scene:
    """One to five shapes, sometimes several of one kind, on a plain ground."""
    while True:
        canvas, scene, ground = _begin(size, random)
        wanted = count or random.choices((1, 2, 3, 4, 5), numbers)[0]
        repeat = wanted > 1 and random.random() < 0.3
        name = random.choice(SHAPES) if repeat else None
        color = pick_against([ground], random)[0] if repeat and random.random() < 0.4 else None
        for _ in range(wanted):
            _add_shape(
                canvas, scene, random, ground, alone=wanted == 1,
                name=name if random.random() < 0.8 else None,
                color=color if random.random() < 0.8 else None,
            )  # fmt: skip
        if scene.items:
            return _finish(canvas, scene)


def draw_texts(size: Size, random: Random) -> Scene:
    """One or two words or numbers, sometimes beside a shape."""
    while True:
        canvas, scene, ground = _begin(size, random)
        kinds = random.choices(("number", "word"), (6, 4), k=random.choices((1, 2), (6, 4))[0])
        for kind in kinds:
            _add_text(canvas, scene, random, ground, kind=kind)
        if not scene.items:
            continue
        if len(kinds) == 1 and random.random() < 0.3:
            _add_shape(canvas, scene, random, ground, alone=False)
        return _finish(canvas, scene)


def draw_single(size: Size, random: Random, *, name: str, color: str) -> Scene:
    """Exactly one shape of a given name and colour."""
    while True:
        canvas, scene, ground = _begin(size, random)
        fill = shade(color, random)
        if (
            scene.background == color
            or sum((a - b) ** 2 for a, b in zip(fill, ground, strict=True)) < 100**2
        ):
            continue
        _add_shape(canvas, scene, random, ground, alone=True, name=name, color=color)
        if scene.items:
            return _finish(canvas, scene)


def draw_pattern(size: Size, random: Random) -> Scene:
    """A checkerboard, stripes, a gradient or one plain colour over the whole picture."""
    height, width = size
    seen_height, seen_width = resized(size)
    shrink = min(seen_height / height, seen_width / width)
    kind = random.choices(PATTERNS, (3, 2, 2, 2, 3, 1))[0]
    first, one = random.choice(COLORS), (0, 0, 0)
    one = shade(first, random)
    second, two = pick_against([one], random, tuple(name for name in COLORS if name != first))
    side = random.uniform(10 / shrink, max(11 / shrink, min(size) / 3))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    shift_x, shift_y = random.uniform(0, side), random.uniform(0, side)
    direction: tuple[str, str] | None = None
    if kind == "checkerboard":
        if random.random() < 0.5:
            shift_x = shift_y = 0.0
        share = (np.floor((x + shift_x) / side) + np.floor((y + shift_y) / side)) % 2
    elif kind == "horizontal stripes":
        share = np.floor((y + shift_y) / side) % 2
    elif kind == "vertical stripes":
        share = np.floor((x + shift_x) / side) % 2
    elif kind == "diagonal stripes":
        slope = random.choice((1, -1))
        share = np.floor((x + slope * y + shift_x) / (side * 1.4)) % 2
    elif kind == "gradient":
        direction = random.choice(DIRECTIONS)
        share = x / width if direction[0] == "left" else y / height
    else:
        share = np.zeros_like(x)
    pixels = np.array(one, np.float32) + share[..., None] * (
        np.array(two, np.float32) - np.array(one, np.float32)
    )
    colors: tuple[str, ...] = (first,) if kind == "plain" else (first, second)
    if kind not in ("gradient", "plain"):
        colors = tuple(sorted(colors, key=COLORS.index))
    corners = ((0.0, 0.0), (width, 0.0), (float(width), float(height)), (0.0, float(height)))
    return Scene(
        Image.fromarray(np.rint(pixels).astype(np.uint8)),
        background=None,
        pattern=Pattern(kind, colors, direction),
        marks=[Mark(kind, first if kind == "plain" else None, corners)],
    )


def draw_examples(folder: Path) -> None:
    """Write the example pictures of the repository, as small PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    white, red, blue, green = (255, 255, 255), (255, 0, 0), (45, 90, 220), (40, 160, 70)

    def canvas(size: Size = (192, 192)) -> _Canvas:
        return _Canvas(size, white, smooth=True)

    circle = canvas()
    circle.polygon(outline("circle", (96, 96), 56), red)
    scene = canvas()
    scene.polygon(outline("square", (44, 46), 32), blue)
    scene.polygon(outline("star", (148, 50), 34), (245, 220, 50))
    scene.polygon(outline("triangle", (96, 146), 32), green)
    number = canvas((128, 160))
    left, top, right, bottom = _font(60).getbbox("42")
    wide, high = right - left, bottom - top
    number.text("42", (80 - wide / 2, 64 - high / 2, 80 + wide / 2, 64 + high / 2), 60, (0, 0, 0))
    for name, drawn in (("circle", circle), ("scene", scene), ("number", number)):
        drawn.finish().save(folder / f"{name}.png", optimize=True)
    y, x = np.mgrid[0:192, 0:192]
    for name, share, one in (
        ("checkerboard", (x // 24 + y // 24) % 2, (0, 0, 0)),
        ("stripes", (y // 24) % 2, red),
    ):
        pixels = np.where(share[..., None] == 0, one, white).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png", optimize=True)
