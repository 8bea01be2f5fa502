"""Questions about a scene, each with the one answer that is right.

Every function here takes scenes and a random generator and gives an `Exchange` or, where the
scene does not allow an unambiguous question of its kind, None.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from triptych.models.sketch.palette import COLORS
from triptych.models.sketch.scenes import POSITIONS, STRIPES, Item, Scene
from triptych.models.sketch.shapes import SHAPES


@dataclass(frozen=True)
class Exchange:
    """A question, its only right answer, and the task that both belong to."""

    task: str
    question: str
    answer: str


def vary(question: str, random: Random) -> str:
    """The question as another person would type it: British, lower-case, without its mark."""
    if random.random() < 0.25:
        for american, british in (("color", "colour"), ("center", "centre"), ("gray", "grey")):
            question = question.replace(american, british)
    if random.random() < 0.2:
        question = question[0].lower() + question[1:]
    if random.random() < 0.2:
        question = question.rstrip("?.")
    return question


def _one(random: Random, *forms: str) -> str:
    """A phrasing; the first one, the plainest, comes up most."""
    return forms[0] if random.random() < 0.35 else random.choice(forms)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _listed(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def _unique(items: Sequence[Item], key: Callable[[Item], object]) -> list[Item]:
    keys = [key(item) for item in items]
    return [item for item, value in zip(items, keys, strict=True) if keys.count(value) == 1]


def _thing(item: Item) -> str:
    """As in: red circle; the word "cat"; the number 42."""
    if item.kind == "shape":
        return f"{item.color} {item.name}"
    return f'the word "{item.name}"' if item.kind == "word" else f"the number {item.name}"


def sentence(scene: Scene) -> str:
    """The description in the one fixed grammar and order."""
    if scene.pattern is not None:
        kind, colors = scene.pattern.kind, scene.pattern.colors
        if kind == "plain":
            return f"A plain {colors[0]} image."
        if kind == "gradient":
            start, end = scene.pattern.direction or ("", "")
            return f"A gradient from {colors[0]} at the {start} to {colors[1]} at the {end}."
        if kind in STRIPES:
            return f"{kind.split()[0].capitalize()} {_listed(colors)} stripes."
        return f"{_article(_listed(colors))} {kind}.".capitalize()
    parts = []
    for item in scene.items:
        if item.kind == "shape":
            parts.append(f"{_article(_thing(item))} at the {item.position}")
        else:
            parts.append(f"{_thing(item)} in {item.color} at the {item.position}")
    text = _listed(parts)
    return f"{text[0].upper()}{text[1:]} on {_article(scene.background or '')} background."


def structure(scene: Scene) -> str:
    """The description as one line of JSON."""
    if scene.pattern is not None:
        record: dict[str, object] = {
            "pattern": scene.pattern.kind, "colors": list(scene.pattern.colors)
        }  # fmt: skip
        if scene.pattern.direction is not None:
            record["from"], record["to"] = scene.pattern.direction
        return json.dumps(record)
    objects = []
    for item in scene.items:
        name = {"shape": item.name} if item.kind == "shape" else {"text": item.name}
        objects.append({"color": item.color, **name, "position": item.position})
    return json.dumps({"objects": objects, "background": scene.background})


def ask_describe(scene: Scene, random: Random) -> Exchange | None:
    """Describe the picture in a sentence."""
    if len(scene.items) > 4:
        return None
    question = _one(
        random, "Describe this image.", "Describe the image.", "What do you see?",
        "What is in this image?", "Describe this picture.", "What is shown here?",
        "Describe what you see.", "Please describe the picture.", "What does this image show?",
    )  # fmt: skip
    return Exchange("describe", question, sentence(scene))


def ask_json(scene: Scene, random: Random) -> Exchange | None:
    """Describe the picture as JSON."""
    if len(scene.items) > 4:
        return None
    question = _one(
        random, "Describe this image as JSON.", "Describe the image as JSON.",
        "Give me the scene as JSON.", "JSON, please.", "Describe this picture in JSON.",
    )  # fmt: skip
    return Exchange("json", question, structure(scene))


def ask_color(scene: Scene, random: Random) -> Exchange | None:
    """The colour of one thing, or of the ground."""
    if scene.pattern is not None:
        return None
    if random.random() < 0.12:
        question = _one(
            random, "What color is the background?", "Which color is the background?",
            "What is the background color?",
        )  # fmt: skip
        return Exchange("color", question, str(scene.background))
    shapes = scene.shapes
    options: list[tuple[Item, str]] = [(item, item.name) for item in _unique(shapes, _name)]
    if len(shapes) == 1 and random.random() < 0.25:
        options = [(shapes[0], "shape")]
    elif random.random() < 0.25:
        options = [(item, f"shape at the {item.position}") for item in shapes]
    options += [(item, item.kind) for item in _unique(scene.texts, _kind)]
    if len(scene.texts) == 1:
        options.append((scene.texts[0], "text"))
    if not options:
        return None
    item, name = random.choice(options)
    question = _one(
        random, f"What color is the {name}?", f"Which color is the {name}?",
        f"What is the color of the {name}?", f"What color does the {name} have?",
        f"Tell me the color of the {name}.",
    )  # fmt: skip
    return Exchange("color", question, item.color)


def ask_colors(scene: Scene, random: Random) -> Exchange | None:
    """All colours: of the things in reading order, then the ground; of a pattern in its order."""
    if scene.pattern is not None:
        colors = list(scene.pattern.colors)
    else:
        colors = list(dict.fromkeys([*(item.color for item in scene.items)]))
        if len(scene.items) > 4:
            return None
        colors.append(str(scene.background))
    question = _one(
        random, "What colors are in this image?", "Which colors do you see?",
        "What colors are there?", "List the colors in this image.",
        "What are the main colors?", "Name the colors.", "What colors do you see?",
    )  # fmt: skip
    return Exchange("colors", question, _listed(colors))


def ask_shape(scene: Scene, random: Random) -> Exchange | None:
    """The shape that has a colour or a place."""
    shapes = scene.shapes
    if not shapes:
        return None
    if len(shapes) == 1 and not scene.texts and random.random() < 0.5:
        question = _one(
            random, "What shape is this?", "Which shape is it?", "What shape do you see?",
            "What shape is in the image?", "Name the shape.",
        )  # fmt: skip
        return Exchange("shape", question, shapes[0].name)
    by_color = _unique(scene.items, _color)
    by_color = [item for item in by_color if item.kind == "shape"]
    if by_color and random.random() < 0.4:
        item = random.choice(by_color)
        question = _one(
            random, f"What shape is {item.color}?", f"Which shape is {item.color}?",
            f"What is the {item.color} shape?",
        )  # fmt: skip
        return Exchange("shape", question, item.name)
    item = random.choice(shapes)
    if random.random() < 0.3:
        question = _one(
            random, f"What is at the {item.position}?", f"What do you see at the {item.position}?"
        )
        return Exchange("shape", question, _article(_thing(item)))
    question = _one(
        random, f"What shape is at the {item.position}?", f"Which shape is at the {item.position}?"
    )
    return Exchange("shape", question, item.name)


def ask_position(scene: Scene, random: Random) -> Exchange | None:
    """Where something is."""
    shapes = scene.shapes
    options = [(item, item.name) for item in _unique(shapes, _name)]
    options += [(item, f"{item.color} {item.name}") for item in _unique(shapes, _thing)]
    options += [(item, f"{item.color} shape") for item in _unique(shapes, _color)]
    options += [(item, item.kind) for item in _unique(scene.texts, _kind)]
    if len(scene.texts) == 1:
        options.append((scene.texts[0], "text"))
    if not options:
        return None
    item, name = random.choice(options)
    question = _one(
        random, f"Where is the {name}?", f"Where is the {name} in the image?",
        f"What is the position of the {name}?", f"In which part of the image is the {name}?",
        f"Where do you see the {name}?",
    )  # fmt: skip
    return Exchange("position", question, item.position)


def ask_size(scene: Scene, random: Random) -> Exchange | None:
    """Small or large; or which of two is larger."""
    shapes = scene.shapes
    if len(shapes) >= 2 and random.random() < 0.4:
        first, second = random.sample(shapes, 2)
        low, high = sorted((first, second), key=lambda item: item.diameter)
        if high.diameter < 1.4 * low.diameter or _thing(first) == _thing(second):
            return None
        word, right = random.choice((("larger", high), ("smaller", low)))
        if len(_unique(shapes, _thing)) < len(shapes):
            return None
        question = f"Which is {word}, the {_thing(first)} or the {_thing(second)}?"
        return Exchange("size", question, f"the {_thing(right)}")
    options = [item for item in _unique(shapes, _name) if item.size is not None]
    if not options:
        return None
    item = random.choice(options)
    question = _one(
        random, f"Is the {item.name} small or large?", f"What size is the {item.name}?",
        f"How big is the {item.name}?",
    )  # fmt: skip
    return Exchange("size", question, str(item.size))


def ask_count(scene: Scene, random: Random) -> Exchange | None:
    """How many shapes, of a kind or colour or all."""
    shapes = scene.shapes
    if scene.pattern is not None or not shapes:
        return None
    kind = random.random()
    if kind < 0.45:
        question = _one(
            random, "How many shapes are there?", "How many shapes do you see?",
            "Count the shapes.", "How many shapes are in the image?", "How many shapes?",
        )  # fmt: skip
        return Exchange("count", question, str(len(shapes)))
    if kind < 0.75:
        name = random.choice(shapes).name if random.random() < 0.8 else random.choice(SHAPES)
        number = sum(item.name == name for item in shapes)
        plural = {"cross": "crosses"}.get(name, f"{name}s")
    else:
        name = random.choice(shapes).color if random.random() < 0.8 else random.choice(COLORS)
        number = sum(item.color == name for item in shapes)
        plural = f"{name} shapes"
    question = _one(
        random, f"How many {plural} are there?", f"How many {plural} do you see?",
        f"Count the {plural}.", f"How many {plural}?",
    )  # fmt: skip
    return Exchange("count", question, str(number))


def ask_exists(scene: Scene, random: Random) -> Exchange | None:
    """Yes or no: is something there, is it of a colour."""
    shapes = scene.shapes
    if not shapes:
        return None
    yes = random.random() < 0.5
    kind = random.random()
    if kind < 0.4:
        present = {item.name for item in shapes}
        absent = [name for name in SHAPES if name not in present]
        name = random.choice(sorted(present)) if yes else random.choice(absent)
        question = _one(
            random, f"Is there a {name}?", f"Do you see a {name}?",
            f"Is there a {name} in the image?",
        )  # fmt: skip
        return Exchange("exists", question, "yes" if yes else "no")
    if kind < 0.6:
        position = random.choice(POSITIONS)
        if yes:
            position = random.choice(scene.items).position
        found = any(item.position == position for item in scene.items)
        return Exchange("exists", f"Is there anything at the {position}?", "yes" if found else "no")
    options = _unique(shapes, _name)
    if not options:
        return None
    item = random.choice(options)
    color = item.color if yes else random.choice([c for c in COLORS if c != item.color])
    return Exchange("exists", f"Is the {item.name} {color}?", "yes" if yes else "no")


def ask_pattern(scene: Scene, random: Random) -> Exchange | None:
    """The kind of a pattern, its direction, the colours of its ends."""
    if scene.pattern is None:
        return None
    kind, colors = scene.pattern.kind, scene.pattern.colors
    if kind in STRIPES and random.random() < 0.3:
        question = _one(
            random, "Which way do the stripes run?", "What direction do the stripes have?",
            "In which direction do the stripes go?",
        )  # fmt: skip
        return Exchange("pattern", question, kind.split()[0])
    if kind == "gradient" and scene.pattern.direction is not None and random.random() < 0.5:
        end = random.randrange(2)
        side = scene.pattern.direction[end]
        question = _one(random, f"What color is at the {side}?", f"Which color is at the {side}?")
        return Exchange("pattern", question, colors[end])
    question = _one(
        random, "What pattern is this?", "What pattern do you see?",
        "What kind of pattern is shown?", "Which pattern is in the image?", "Name the pattern.",
        "Is there a pattern in this image?", "What is the pattern?",
    )  # fmt: skip
    return Exchange("pattern", question, kind)


def ask_read(scene: Scene, random: Random) -> Exchange | None:
    """What a word or number says, or all texts in reading order."""
    texts = scene.texts
    if not texts:
        return None
    options = [(item, f" {item.kind}") for item in _unique(texts, _kind)]
    if options and random.random() < 0.5:
        item, _ = random.choice(options)
        forms = (
            ("What number is shown?", "What number do you see?", "Read the number.",
             "What is the number?", "Which number is this?")
            if item.kind == "number"
            else ("What word is shown?", "What word do you see?", "Read the word.",
                  "What is the word?", "Which word is this?")
        )  # fmt: skip
        return Exchange("read", _one(random, *forms), item.name)
    if len(texts) > 1 and random.random() < 0.3:
        item = random.choice(texts)
        return Exchange("read", f"What is written at the {item.position}?", item.name)
    question = _one(
        random, "What does the text say?", "Read the text.", "What is written here?",
        "What text is in the image?", "What does it say?", "Read this.",
    )  # fmt: skip
    return Exchange("read", question, " ".join(item.name for item in texts))


def ask_follow_up(  # noqa: PLR0911 - each return is one way to refer back
    scene: Scene, random: Random
) -> tuple[Exchange, Exchange] | None:
    """Two exchanges, the second of which can only be understood after the first."""
    shapes = scene.shapes
    if not shapes or scene.pattern is not None:
        return None
    named = _unique(shapes, _name)
    item = random.choice(shapes)
    if len(named) >= 2 and random.random() < 0.35:
        first, second = random.sample(named, 2)
        if random.random() < 0.5:
            start = Exchange("color", f"What color is the {first.name}?", first.color)
            answer = second.color
        else:
            start = Exchange("position", f"Where is the {first.name}?", first.position)
            answer = second.position
        form = _one(random, f"And the {second.name}?", f"What about the {second.name}?")
        return start, Exchange("follow_up", form, answer)
    colored = [one for one in _unique(scene.items, _color) if one.kind == "shape"]
    kind = random.random()
    if kind < 0.35 or not (colored or named):
        start = Exchange("shape", f"What shape is at the {item.position}?", item.name)
        form = _one(random, "What color is it?", "Which color is it?", "And its color?")
        return start, Exchange("follow_up", form, item.color)
    if kind < 0.65 and colored:
        item = random.choice(colored)
        start = Exchange("shape", f"What shape is {item.color}?", item.name)
        form = _one(random, "Where is it?", "And where is it?", "What is its position?")
        return start, Exchange("follow_up", form, item.position)
    if not named:
        return None
    item = random.choice(named)
    if random.random() < 0.5:
        start = Exchange("position", f"Where is the {item.name}?", item.position)
        form = _one(random, "What color is it?", "And its color?", "Which color does it have?")
        return start, Exchange("follow_up", form, item.color)
    start = Exchange("color", f"What color is the {item.name}?", item.color)
    return start, Exchange("follow_up", _one(random, "Where is it?", "And where is it?"),
                           item.position)  # fmt: skip


def ask_compare(first: Scene, second: Scene, random: Random) -> Exchange | None:
    """A question about two pictures, the first shown before the second."""
    one, two = first.shapes, second.shapes
    kind = random.random()
    if len(one) == len(two) == 1 and kind < 0.6:
        if random.random() < 0.5:
            same = one[0].color == two[0].color
            question = _one(
                random, "Is the color the same in both images?",
                "Do both shapes have the same color?", "Are the two shapes the same color?",
                "Do the images show the same color?",
            )  # fmt: skip
        else:
            same = one[0].name == two[0].name
            question = _one(
                random, "Is the shape the same in both images?",
                "Do both images show the same shape?", "Are the two shapes of the same kind?",
                "Do the images show the same shape?",
            )  # fmt: skip
        return Exchange("compare", question, "yes" if same else "no")
    if kind < 0.8 and len(one) != len(two):
        more = random.random() < 0.7
        right = "the first" if (len(one) > len(two)) == more else "the second"
        word = "more" if more else "fewer"
        question = _one(random, f"Which image has {word} shapes?",
                        f"Which picture shows {word} shapes?")  # fmt: skip
        return Exchange("compare", question, right)
    which, shapes = random.choice((("first", one), ("second", two)))
    if len(shapes) == 1 and random.random() < 0.8:
        if random.random() < 0.5:
            return Exchange("compare", f"What shape is in the {which} image?", shapes[0].name)
        return Exchange(
            "compare", f"What color is the shape in the {which} image?", shapes[0].color
        )
    return Exchange("compare", f"How many shapes are in the {which} image?", str(len(shapes)))


def _name(item: Item) -> object:
    return item.name


def _kind(item: Item) -> object:
    return item.kind


def _color(item: Item) -> object:
    return item.color


ASK: dict[str, Callable[[Scene, Random], Exchange | None]] = {
    "describe": ask_describe,
    "json": ask_json,
    "color": ask_color,
    "colors": ask_colors,
    "shape": ask_shape,
    "position": ask_position,
    "size": ask_size,
    "count": ask_count,
    "exists": ask_exists,
    "pattern": ask_pattern,
    "read": ask_read,
}
"""Questions about one picture that stand alone, by task."""
