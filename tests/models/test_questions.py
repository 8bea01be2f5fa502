"""Every question has one right answer, and it is the one given."""

from __future__ import annotations

import json
import re
from random import Random

import pytest

from triptych.models.sketch.palette import COLORS
from triptych.models.sketch.questions import (
    ASK,
    ask_compare,
    ask_follow_up,
    sentence,
    structure,
    vary,
)
from triptych.models.sketch.scenes import (
    POSITIONS,
    Item,
    Pattern,
    Scene,
    draw_pattern,
    draw_shapes,
    draw_texts,
)
from triptych.models.sketch.shapes import SHAPES

BOX = (0.0, 0.0, 1.0, 1.0)


def item(kind: str, name: str, color: str, position: str, size: str | None = None) -> Item:
    return Item(kind, name, color, position, size, 20.0, BOX)


def scene(*items: Item, background: str = "white") -> Scene:
    return Scene(None, background, list(items))  # type: ignore[arg-type]


def asked(task: str, one: Scene, times: int = 150) -> dict[str, str]:
    """Questions of a task about a scene, with their answers."""
    found = {}
    for seed in range(times):
        exchange = ASK[task](one, Random(seed))
        if exchange is not None:
            assert found.setdefault(exchange.question, exchange.answer) == exchange.answer
    return found


TWO = scene(item("shape", "circle", "red", "top left"), item("shape", "star", "blue", "bottom"))
TWINS = scene(item("shape", "circle", "red", "left"), item("shape", "circle", "blue", "right"))


def test_a_scene_is_described_in_one_grammar() -> None:
    assert sentence(TWO) == (
        "A red circle at the top left and a blue star at the bottom on a white background."
    )
    mixed = scene(
        item("word", "cat", "orange", "top"), item("number", "42", "black", "center"),
        item("shape", "heart", "orange", "bottom right"), background="gray",
    )  # fmt: skip
    assert sentence(mixed) == (
        'The word "cat" in orange at the top, the number 42 in black at the center and '
        "an orange heart at the bottom right on a gray background."
    )


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (Pattern("checkerboard", ("red", "white")), "A red and white checkerboard."),
        (Pattern("checkerboard", ("orange", "white")), "An orange and white checkerboard."),
        (Pattern("diagonal stripes", ("red", "blue")), "Diagonal red and blue stripes."),
        (Pattern("plain", ("green",)), "A plain green image."),
        (Pattern("gradient", ("pink", "black"), ("top", "bottom")),
         "A gradient from pink at the top to black at the bottom."),
    ],
)  # fmt: skip
def test_a_pattern_is_described_in_one_grammar(pattern: Pattern, said: str) -> None:
    assert sentence(Scene(None, None, pattern=pattern)) == said  # type: ignore[arg-type]


def test_the_structure_is_json_that_holds_the_whole_scene() -> None:
    assert json.loads(structure(TWO)) == {
        "objects": [
            {"color": "red", "shape": "circle", "position": "top left"},
            {"color": "blue", "shape": "star", "position": "bottom"},
        ],
        "background": "white",
    }
    gradient = Pattern("gradient", ("pink", "black"), ("left", "right"))
    assert json.loads(structure(Scene(None, None, pattern=gradient))) == {  # type: ignore[arg-type]
        "pattern": "gradient", "colors": ["pink", "black"], "from": "left", "to": "right",
    }  # fmt: skip


def test_the_plainest_color_question_is_asked_and_answered() -> None:
    answers = asked("color", TWO)
    assert answers["What color is the circle?"] == "red"
    assert answers["What color is the star?"] == "blue"
    assert answers["What color is the background?"] == "white"


def test_no_question_names_one_of_two_alike_things() -> None:
    for task in ("color", "position", "size"):
        assert not any(re.search(r"the circle\b", q) for q in asked(task, TWINS)), task
    assert "Where is the red circle?" in asked("position", TWINS)
    assert asked("color", TWINS)["What color is the shape at the left?"] == "red"


def test_counts_are_counted() -> None:
    three = scene(
        item("shape", "moon", "red", "top"), item("shape", "moon", "blue", "left"),
        item("shape", "cross", "red", "bottom"),
    )  # fmt: skip
    answers = asked("count", three)
    assert answers["How many shapes are there?"] == "3"
    assert answers["How many moons are there?"] == "2"
    assert answers["How many crosses are there?"] == "1"
    assert answers["How many red shapes are there?"] == "2"
    assert "0" in answers.values()


def test_yes_and_no_are_true() -> None:
    answers = asked("exists", TWO, times=600)
    assert answers["Is there a circle?"] == "yes"
    assert answers["Is there a heart?"] == "no"
    assert answers["Is the circle red?"] == "yes"
    assert answers["Is the circle green?"] == "no"
    assert answers["Is there anything at the bottom?"] == "yes"
    assert answers["Is there anything at the top right?"] == "no"


def test_shapes_are_asked_by_color_and_by_place() -> None:
    answers = asked("shape", TWO)
    assert answers["What shape is red?"] == "circle"
    assert answers["What shape is at the bottom?"] == "star"
    assert answers["What is at the top left?"] == "a red circle"


def test_texts_are_read_in_reading_order() -> None:
    texts = scene(item("number", "17", "red", "top"), item("word", "STOP", "red", "center"))
    answers = asked("read", texts)
    assert answers["Read the text."] == "17 STOP"
    assert answers["What number is shown?"] == "17"
    assert answers["What word is shown?"] == "STOP"
    assert answers["What is written at the center?"] == "STOP"


def test_colors_are_listed_once_each_with_the_ground_last() -> None:
    red = [item("shape", "moon", "red", "top"), item("shape", "star", "red", "left")]
    assert asked("colors", scene(*red))["What colors are in this image?"] == "red and white"


def test_sizes_are_told_only_where_they_are_clear() -> None:
    clear = scene(item("shape", "moon", "red", "top", "small"))
    assert asked("size", clear)["What size is the moon?"] == "small"
    assert asked("size", scene(item("shape", "moon", "red", "top"))) == {}


def test_a_follow_up_answers_for_the_thing_before_it() -> None:
    properties = {"circle": ("red", "top left"), "star": ("blue", "bottom")}
    seen = set()
    for seed in range(300):
        pair = ask_follow_up(TWO, Random(seed))
        assert pair is not None
        first, second = pair
        named = (
            re.search("circle|star", second.question)
            or re.search("circle|star", first.answer)
            or re.search("circle|star", first.question)
        )
        assert named is not None
        color, position = properties[named.group()]
        wants_place = "here" in second.question or "position" in second.question
        if second.question.startswith(("And the", "What about")):
            wants_place = first.task == "position"
        assert second.answer == (position if wants_place else color), (first, second)
        seen.add(second.question)
    assert {"What color is it?", "Where is it?", "And the star?"} <= seen


def test_comparisons_are_true() -> None:
    one = scene(item("shape", "circle", "red", "top"))
    other = scene(item("shape", "circle", "blue", "top"))
    answers = {}
    for seed in range(300):
        for pair in ((one, other), (one, TWO)):
            exchange = ask_compare(*pair, Random(seed))
            answers.setdefault((pair[1] is TWO, exchange.question), exchange.answer)
    assert answers[False, "Is the color the same in both images?"] == "no"
    assert answers[False, "Is the shape the same in both images?"] == "yes"
    assert answers[False, "What color is the shape in the second image?"] == "blue"
    assert answers[True, "Which image has more shapes?"] == "the second"
    assert answers[True, "Which image has fewer shapes?"] == "the first"
    assert answers[True, "How many shapes are in the second image?"] == "2"


@pytest.mark.parametrize("seed", range(40))
def test_drawn_scenes_never_ask_about_a_thing_that_is_there_twice(seed: int) -> None:
    random = Random(seed)
    drawn = draw_shapes((150, 150), random)
    names = [one.name for one in drawn.shapes]
    for task in ("color", "position", "size", "exists"):
        for question in asked(task, drawn, times=30):
            thing = re.search(r"(?:is|of|does) the (\w+)(?: |\?|$)", question)
            if thing and thing.group(1) in SHAPES:
                assert names.count(thing.group(1)) == 1, question


@pytest.mark.parametrize("draw", [draw_shapes, draw_texts, draw_pattern])
def test_answers_use_the_known_words_only(draw) -> None:
    short = {*COLORS, *SHAPES, *POSITIONS, "yes", "no", "small", "large", *map(str, range(6))}
    for seed in range(30):
        drawn = draw((140, 170), Random(seed))
        for task in ("color", "position", "count", "exists"):
            assert set(asked(task, drawn, times=20).values()) <= short


def test_phrasings_vary_in_spelling_case_and_mark_but_not_in_words() -> None:
    said = {vary("What color is the gray center?", Random(seed)) for seed in range(200)}
    assert "What colour is the grey centre?" in said
    assert "what color is the gray center" in said
    words = {re.sub("colour", "color", one.lower().rstrip("?")) for one in said}
    assert words == {"what color is the gray center", "what color is the grey centre"}
