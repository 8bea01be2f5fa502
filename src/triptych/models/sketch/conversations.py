"""Whole conversations about drawn scenes: for training, and the held-out set.

A conversation is a pure function of its seed and index, so that the order of the data never
depends on how many processes draw it or where a run was resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from PIL import Image

from triptych.models.sketch.facts import (
    CAPITAL_QUESTIONS,
    CAPITALS,
    COUNTRY_QUESTIONS,
    SMALL_TALK,
    SYSTEM_PROMPTS,
)
from triptych.models.sketch.palette import COLORS
from triptych.models.sketch.questions import ASK, Exchange, ask_compare, ask_follow_up, vary
from triptych.models.sketch.scenes import (
    NUMBERS,
    Scene,
    draw_pattern,
    draw_shapes,
    draw_single,
    draw_texts,
)
from triptych.models.sketch.shapes import SHAPES
from triptych.models.sketch.sizes import Size, draw_size

Message = dict[str, object]


@dataclass(frozen=True)
class Mix:
    """How often each kind of conversation and each task is trained on, as weights."""

    kinds: dict[str, int]
    tasks: dict[str, dict[str, int]]
    """By kind of scene."""
    questions: tuple[int, int]
    """Fewest and most questions of a conversation."""
    numbers: tuple[int, ...] = NUMBERS
    """How often a scene has one, two, three, four or five shapes."""


BROAD = Mix(
    {"shapes": 40, "texts": 26, "pattern": 9, "pair": 10, "later": 5, "facts": 10},
    {
        "shapes": {"describe": 3, "json": 2, "color": 4, "colors": 1, "shape": 3, "position": 3,
                   "size": 1, "count": 4, "exists": 2, "follow_up": 3},
        "texts": {"read": 10, "describe": 2, "json": 1, "color": 1, "colors": 1, "position": 1},
        "pattern": {"pattern": 4, "describe": 2, "colors": 2, "json": 1},
    },
    questions=(2, 5),
)  # fmt: skip
"""Everything, so that the model learns to see and to speak."""

DRILL = Mix(
    {"shapes": 49, "texts": 31, "pattern": 4, "pair": 8, "later": 4, "facts": 4},
    {
        "shapes": {"describe": 9, "json": 2, "color": 6, "colors": 1, "shape": 3, "position": 5,
                   "size": 4, "count": 6, "exists": 1, "follow_up": 3},
        "texts": {"read": 12, "describe": 5, "json": 1, "color": 2, "colors": 1, "position": 2},
        "pattern": BROAD.tasks["pattern"],
    },
    questions=(3, 7),
    numbers=(14, 28, 32, 18, 8),
)  # fmt: skip
"""Short questions about one of several things: what is seen must be found by what was asked."""

PLACES = replace(
    DRILL,
    tasks=DRILL.tasks | {
        "shapes": {"describe": 7, "json": 2, "color": 5, "colors": 1, "shape": 3, "position": 11,
                   "size": 4, "count": 5, "exists": 1, "follow_up": 6},
        "texts": {"read": 12, "describe": 5, "json": 1, "color": 2, "colors": 1, "position": 4},
    },
)  # fmt: skip
"""More of where things are, the last that is learned."""

MIXES = {"broad": BROAD, "drill": DRILL, "places": PLACES}

TASKS = (
    "color", "shape", "position", "pattern", "capital", "describe", "count", "read", "compare",
    "json", "colors", "exists", "size", "follow_up", "chat",
)  # fmt: skip
"""What is evaluated, and in which order it is reported."""

TARGETS = {
    "color": 95, "shape": 95, "position": 95, "pattern": 95, "capital": 95,
    "describe": 90, "count": 90, "read": 90, "compare": 85,
}  # fmt: skip
"""Exact match in percent that the model is built to reach, pictures up to 192 pixels a side."""


@dataclass(frozen=True)
class Turn:
    """The pictures shown with a question, the question, and the answer to be given."""

    scenes: tuple[Scene, ...]
    exchange: Exchange


@dataclass(frozen=True)
class Conversation:
    """Turns about pictures, after a system prompt or none."""

    system: str | None
    turns: tuple[Turn, ...]

    @property
    def scenes(self) -> list[Scene]:
        """All scenes, in the order in which they are shown."""
        return [scene for turn in self.turns for scene in turn.scenes]

    def messages(self, *, answers: bool = True) -> list[Message]:
        """As the chat template takes them; without `answers`, the last answer is left out."""
        messages: list[Message] = []
        if self.system:
            messages.append({"role": "system", "content": self.system})
        for turn in self.turns:
            content: list[dict[str, str]] = [{"type": "image"} for _ in turn.scenes]
            content.append({"type": "text", "text": turn.exchange.question})
            messages.append({"role": "user", "content": content})
            messages.append({"role": "assistant", "content": turn.exchange.answer})
        return messages if answers else messages[:-1]


def _weighted(weights: dict[str, int], random: Random) -> str:
    return random.choices(list(weights), list(weights.values()))[0]


def _varied(exchange: Exchange, random: Random) -> Exchange:
    return Exchange(exchange.task, vary(exchange.question, random), exchange.answer)


def _ask(scene: Scene, weights: dict[str, int], number: int, random: Random) -> list[Exchange]:
    """`number` different exchanges about a scene, or a few less where it allows no more."""
    found: dict[str, Exchange] = {}
    for _ in range(number * 4):
        task = _weighted(weights, random)
        if task == "follow_up":
            pair = ask_follow_up(scene, random)
            if pair is not None and pair[0].question not in found and pair[1].question not in found:
                found.update((one.question, one) for one in pair)
        else:
            one = ASK[task](scene, random)
            if one is not None:
                found.setdefault(one.question, one)
        if len(found) >= number:
            break
    return [_varied(one, random) for one in found.values()]


def _pair(sizes: tuple[Size, Size], random: Random) -> tuple[Scene, Scene]:
    """Two scenes of shapes; half of the time one shape each, alike in about every second trait."""
    if random.random() < 0.4:
        return draw_shapes(sizes[0], random), draw_shapes(sizes[1], random)
    name, color = random.choice(SHAPES), random.choice(COLORS)
    other_name = name if random.random() < 0.5 else random.choice(SHAPES)
    other_color = color if random.random() < 0.5 else random.choice(COLORS)
    return (
        draw_single(sizes[0], random, name=name, color=color),
        draw_single(sizes[1], random, name=other_name, color=other_color),
    )


def _fact(random: Random) -> Exchange:
    kind = random.random()
    country = random.choice(list(CAPITALS))
    if kind < 0.6:
        question = random.choice(CAPITAL_QUESTIONS).format(country)
        return Exchange("capital", question, CAPITALS[country])
    if kind < 0.7:
        question = random.choice(COUNTRY_QUESTIONS).format(CAPITALS[country])
        return Exchange("country", question, country)
    questions, answer = random.choice(SMALL_TALK)
    return Exchange("chat", random.choice(questions), answer)


def draw_scene(kind: str, size: Size, random: Random, numbers: tuple[int, ...] = NUMBERS) -> Scene:
    """A scene of a kind: shapes (see `draw_shapes` for their numbers), texts or pattern."""
    if kind == "shapes":
        return draw_shapes(size, random, numbers=numbers)
    return draw_texts(size, random) if kind == "texts" else draw_pattern(size, random)


def draw_conversation(
    random: Random, sizes: tuple[Size, Size], *, mix: Mix = BROAD
) -> Conversation:
    """A conversation to train on. `sizes`: of its first and second picture, if it has them."""
    kind = _weighted(mix.kinds, random)
    number = random.randint(*mix.questions)
    turns: list[Turn] = []
    if kind == "facts":
        turns = [Turn((), _varied(_fact(random), random)) for _ in range(number)]
    elif kind == "pair":
        pair = _pair(sizes, random)
        asked: dict[str, Exchange] = {}
        for _ in range(number * 2):
            one = ask_compare(*pair, random)
            if one is not None and len(asked) < number:
                asked.setdefault(one.question, one)
        turns = [
            Turn(pair if not index else (), _varied(one, random))
            for index, one in enumerate(asked.values())
        ]
    else:
        kinds = ["shapes", "texts", "pattern"]
        parts = random.choices(kinds, (6, 3, 1), k=2) if kind == "later" else [kind]
        number = max(1, number // len(parts)) if kind == "later" else number
        for part, size in zip(parts, sizes, strict=False):
            scene = draw_scene(part, size, random, mix.numbers)
            for index, one in enumerate(_ask(scene, mix.tasks[part], number, random)):
                turns.append(Turn((scene,) if not index else (), one))
    system = random.choice(SYSTEM_PROMPTS) if random.random() < 0.06 else None
    return Conversation(system, tuple(turns))


@dataclass(frozen=True)
class Example:
    """One held-out example: pictures, messages up to a question, and the answer expected."""

    task: str
    images: tuple[Image.Image, ...]
    messages: list[Message]
    answer: str


def held_out_conversation(
    task: str,
    index: int,
    *,
    seed: int = 0,
    side: int = 192,
    any_size: bool = False,
    draw: str = "held out",
) -> Conversation:
    """A conversation that training never sees, whatever its seed; its last answer is the test.

    draw: another name has other questions of the same kinds, as unseen as these.
    """
    random = Random(f"{draw} {seed} {side} {any_size} {task} {index}")
    turns = None
    while turns is None:
        turns = _held_out_turns(task, side, random, any_size=any_size)
    return Conversation(None, turns)


def held_out(
    task: str, number: int, *, seed: int = 0, side: int = 192, any_size: bool = False
) -> Iterator[Example]:
    """`number` held-out questions of a task.

    side: longest side of a picture in pixels; any_size: also up to 448, large and oblong.
    """
    for index in range(number):
        yield example_of(
            task,
            held_out_conversation(task, index, seed=seed, side=side, any_size=any_size),
        )


def example_of(task: str, conversation: Conversation) -> Example:
    """What is asked last, with all that stands before it."""
    return Example(
        task,
        tuple(scene.image for scene in conversation.scenes),
        conversation.messages(answers=False),
        conversation.turns[-1].exchange.answer,
    )


def _held_out_turns(
    task: str, side: int, random: Random, *, any_size: bool
) -> tuple[Turn, ...] | None:
    sizes = tuple(draw_size(random, side, any_size=any_size) for _ in range(2))
    if task in ("capital", "chat"):
        one = _fact(random)
        return (Turn((), _varied(one, random)),) if one.task == task else None
    if task == "compare":
        pair = _pair((sizes[0], sizes[1]), random)
        compared = ask_compare(*pair, random)
        return (Turn(pair, _varied(compared, random)),) if compared else None
    kinds = {"shapes": 6, "texts": 2, "pattern": 2}
    if task == "read":
        kinds = {"texts": 1}
    elif task == "pattern":
        kinds = {"pattern": 1}
    elif task in ("count", "exists", "shape", "size", "follow_up"):
        kinds = {"shapes": 1}
    scene = draw_scene(_weighted(kinds, random), sizes[0], random)
    if task == "follow_up":
        both = ask_follow_up(scene, random)
        if both is None:
            return None
        return Turn((scene,), _varied(both[0], random)), Turn((), _varied(both[1], random))
    single = ASK[task](scene, random)
    return (Turn((scene,), _varied(single, random)),) if single else None
