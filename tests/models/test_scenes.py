"""What a scene says about itself is what its pixels show."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from PIL import Image

from triptych.models.sketch.palette import COLORS, JITTER, MIN_CONTRAST, SHADES, contrast
from triptych.models.sketch.scenes import (
    PATTERNS,
    POSITIONS,
    Scene,
    draw_examples,
    draw_pattern,
    draw_shapes,
    draw_texts,
    position_of,
)
from triptych.models.sketch.shapes import OUTLINES, SHAPES
from triptych.models.sketch.sizes import MAX_SIDE, MIN_SIDE, draw_size, resized

SEEDS = range(60)


def nearest_color(pixel: np.ndarray) -> str:
    """The name whose nearest shade is nearest."""
    value = tuple(int(channel) for channel in pixel)
    return min(COLORS, key=lambda name: min(contrast(value, s) for s in SHADES[name]))


def looks_like(pixel: np.ndarray, name: str) -> bool:
    """Whether a pixel is a shade of this colour, give or take the jitter of drawing."""
    return any(max(abs(int(a) - b) for a, b in zip(pixel, s, strict=True)) <= JITTER + 1
               for s in SHADES[name])  # fmt: skip


def shape_scenes() -> list[Scene]:
    return [draw_shapes(draw_size(r, 192), r) for r in map(Random, SEEDS)]


def test_the_middle_of_a_shape_has_its_color() -> None:
    for scene in shape_scenes():
        pixels = np.asarray(scene.image)
        for item in scene.shapes:
            left, top, right, bottom = item.box
            # A crescent's middle lies in its bow, a quarter of the width from the left.
            share = 0.22 if item.name == "moon" else 0.5
            middle = pixels[int((top + bottom) / 2), int(left + share * (right - left))]
            assert looks_like(middle, item.color), item


def test_most_of_a_picture_of_shapes_is_its_background() -> None:
    for scene in shape_scenes():
        pixels = np.asarray(scene.image)
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        colors, counts = np.unique(edge, axis=0, return_counts=True)
        assert looks_like(colors[counts.argmax()], scene.background)


def test_a_shape_covers_the_area_that_its_outline_encloses() -> None:
    """Shoelace area of the outline against the number of pixels that are not ground."""
    random = Random(1)
    for _ in range(20):
        scene = draw_shapes((160, 160), random, count=1)
        (item,) = scene.items
        corners = np.array(scene.marks[0].corners)
        x, y = corners.T
        area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        pixels = np.asarray(scene.image).astype(int)
        inked = (np.abs(pixels - pixels[0, 0]).sum(-1) > 30).sum()
        assert inked == pytest.approx(area, rel=0.15), item


def test_positions_are_those_of_the_boxes_and_no_two_are_the_same() -> None:
    for scene in shape_scenes():
        assert len({item.position for item in scene.items}) == len(scene.items)
        for item in scene.items:
            x = (item.box[0] + item.box[2]) / 2 / scene.image.width
            y = (item.box[1] + item.box[3]) / 2 / scene.image.height
            row, column = divmod(POSITIONS.index(item.position), 3)
            assert (int(3 * y), int(3 * x)) == (row, column)


def test_near_the_lines_of_the_grid_a_position_has_no_name() -> None:
    assert position_of(0.33, 0.5) is None
    assert position_of(0.5, 0.5) == "center"
    assert position_of(0.1, 0.9) == "bottom left"


def test_things_keep_apart_and_inside() -> None:
    for scene in [*shape_scenes(), *(draw_texts((150, 180), Random(s)) for s in SEEDS)]:
        boxes = [item.box for item in scene.items]
        for index, (left, top, right, bottom) in enumerate(boxes):
            assert left >= 0
            assert top >= 0
            assert right <= scene.image.width
            assert bottom <= scene.image.height
            for other in boxes[:index]:
                assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top


def test_text_is_drawn_inside_its_box_in_its_color() -> None:
    for seed in SEEDS:
        scene = draw_texts((128, 192), Random(seed))
        pixels = np.asarray(scene.image).astype(int)
        ground = pixels[0, 0]
        outside = np.abs(pixels - ground).sum(-1) > 40
        for item in scene.items:
            left, top, right, bottom = item.box
            # Drawn at twice the size, a text may be a pixel or two wider than planned.
            area = (
                slice(max(0, int(top) - 2), int(bottom) + 3),
                slice(max(0, int(left) - 2), int(right) + 4),
            )
            inked = pixels[area][np.abs(pixels[area] - ground).sum(-1) > 40]
            assert len(inked) > 20, item
            # The pixel farthest from the ground is pure ink, free of smoothing.
            purest = inked[np.abs(inked - ground).sum(-1).argmax()]
            assert looks_like(purest, item.color), item
            outside[area] = False
        assert not outside.any()


def test_what_is_drawn_stands_out_from_the_ground() -> None:
    for scene in shape_scenes():
        pixels = np.asarray(scene.image)
        ground = tuple(int(c) for c in pixels[0, 0])
        for item in scene.shapes:
            left, top, right, bottom = (int(v) for v in item.box)
            inside = pixels[top:bottom, left:right].reshape(-1, 3)
            assert max(contrast(tuple(map(int, p)), ground) for p in inside) >= MIN_CONTRAST - 1


def test_patterns_show_their_colors_and_directions() -> None:
    seen = set()
    for seed in range(80):
        random = Random(seed)
        scene = draw_pattern(draw_size(random, 192), random)
        pattern, pixels = scene.pattern, np.asarray(scene.image)
        assert pattern is not None
        seen.add(pattern.kind)
        if pattern.kind == "gradient":
            ends = {"left": pixels[5, 0], "right": pixels[5, -1],
                    "top": pixels[0, 5], "bottom": pixels[-1, 5]}  # fmt: skip
            for side, color in zip(pattern.direction, pattern.colors, strict=True):
                assert np.abs(ends[side].astype(int) - np.array(SHADES[color])).sum(
                    -1
                ).min() <= 3 * (JITTER + 4)
            continue
        colors = np.unique(pixels.reshape(-1, 3), axis=0)
        assert len(colors) == len(pattern.colors)
        for color in pattern.colors:
            assert any(looks_like(one, color) for one in colors)
        rows_alike = (pixels == pixels[:, :1]).all()
        columns_alike = (pixels == pixels[:1]).all()
        assert rows_alike == (pattern.kind in ("horizontal stripes", "plain"))
        assert columns_alike == (pattern.kind in ("vertical stripes", "plain"))
    assert seen == set(PATTERNS)


def test_sizes_reach_from_64_to_448_in_both_directions() -> None:
    random = Random(0)
    sizes = [draw_size(random, 192, any_size=True) for _ in range(3000)]
    for side in zip(*sizes, strict=True):
        assert min(side) == MIN_SIDE
        assert max(side) >= MAX_SIDE - 5
        assert len({length % 32 for length in side}) == 32
    assert any(height > 3 * width for height, width in sizes)
    assert any(width > 3 * height for height, width in sizes)


def test_a_shape_stays_large_enough_after_the_resize() -> None:
    for seed in range(100):
        random = Random(seed)
        size = draw_size(random, 192, any_size=True)
        scene = draw_shapes(size, random)
        shrink = min(a / b for a, b in zip(resized(size), size, strict=True))
        assert all(item.diameter * shrink >= 14.9 for item in scene.shapes)


def test_outlines_stay_in_their_square_and_are_all_different() -> None:
    for name in SHAPES:
        assert np.abs(np.array(OUTLINES[name])).max() <= 1.0 + 1e-9, name
    assert len({tuple(OUTLINES[name]) for name in SHAPES}) == len(SHAPES)


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (draw_texts((99, 130), Random("seed")) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.items == second.items


def test_example_pictures_are_small_and_show_what_their_names_say(tmp_path) -> None:
    draw_examples(tmp_path)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.glob("*.png")}
    assert set(sizes) == {"circle", "scene", "checkerboard", "stripes", "number"}
    assert max(sizes.values()) < 20_000
    circle = np.asarray(Image.open(tmp_path / "circle.png"))
    assert nearest_color(circle[96, 96]) == "red"
    assert nearest_color(circle[5, 5]) == "white"
