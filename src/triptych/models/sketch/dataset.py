"""Questions about drawn scenes as a dataset: any number of them, drawn when they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from random import Random
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from triptych.core.config.settings import Settings
from triptych.core.dataset import Item
from triptych.core.request import Request
from triptych.models.sketch.conversations import (
    TASKS,
    Conversation,
    Example,
    Turn,
    draw_scene,
    example_of,
    held_out_conversation,
)
from triptych.models.sketch.questions import ASK, Exchange, ask_follow_up, vary
from triptych.models.sketch.scenes import Scene
from triptych.models.sketch.sizes import MAX_SIDE, MIN_SIDE, draw_size

Split = Literal["train", "val", "test"]
Task = Literal[
    "color", "shape", "position", "pattern", "capital", "describe", "count", "read", "compare",
    "json", "colors", "exists", "size", "follow_up", "chat",
]  # fmt: skip

DRAWS: dict[Split, str] = {"train": "training", "val": "validation", "test": "held out"}
"""What the generator of a split's questions is seeded with."""

PER_TASK = 20
"""Questions of each task where neither `limit` nor `per_task` says how many."""

WITHOUT_A_PICTURE = ("capital", "chat")
OF_ONE_PICTURE = tuple(task for task in TASKS if task not in (*WITHOUT_A_PICTURE, "compare"))

KINDS = {"shapes": 6, "texts": 2, "pattern": 2}
"""How often each kind of scene is drawn where it may be any."""


class SketchScenes:
    """Scenes of shapes, texts and patterns, each with questions that have one right answer.

    The reference is that answer, and an item's task is the question's: color, shape, position,
    pattern, capital, describe, count, read, compare, json, colors, exists, size, follow_up or
    chat. Tasks take turns, so that the first items are as mixed as all of them. Items are the
    same on every machine. None of the splits is what `sketch` was trained on: `train` and `val`
    are there to choose settings by, `test` is what its accuracy is reported on.
    """

    class Settings(Settings):
        """Which questions, and how many.

        split: train, val or test. limit: how many items at most. per_task: how many of each
        task; 20, unless `limit` is given. tasks: which ones; None: all. seed: of what is drawn.
        side: the longest side of a picture in pixels. any_size: now and then a larger or an
        oblong one, up to 448. questions_per_scene: how many different questions are asked about
        one picture, which is then their cluster; with more than one, of the tasks that are about
        one picture, and fewer where it allows no more.
        """

        split: Split = "test"
        limit: int | None = Field(default=None, ge=1)
        per_task: int | None = Field(default=None, ge=1)
        tasks: tuple[Task, ...] | None = Field(default=None, min_length=1)
        seed: int = Field(default=0, ge=0)
        side: int = Field(default=192, ge=MIN_SIDE, le=MAX_SIDE)
        any_size: bool = False
        questions_per_scene: int = Field(default=1, ge=1)

        @model_validator(mode="after")
        def _about_one_picture(self) -> Self:
            tasks = self.tasks or ()
            if len(set(tasks)) < len(tasks):
                raise ValueError("a task is named twice")
            other = [task for task in tasks if task not in OF_ONE_PICTURE]
            if self.questions_per_scene > 1 and other:
                raise ValueError(
                    f"{other[0]} is not about one picture: leave it out, or questions_per_scene"
                )
            return self

        @property
        def asked(self) -> tuple[str, ...]:
            """The tasks."""
            return self.tasks or (TASKS if self.questions_per_scene == 1 else OF_ONE_PICTURE)

        @property
        def number(self) -> int:
            """How many items there are."""
            each = PER_TASK if self.per_task is None else self.per_task
            if self.limit is None:
                return each * len(self.asked)
            most = self.limit if self.per_task is None else each * len(self.asked)
            return min(most, self.limit)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __len__(self) -> int:
        return self.settings.number

    def __iter__(self) -> Iterator[Item]:
        """From the first question, each time."""
        several = self.settings.questions_per_scene > 1
        return islice(self._of_scenes() if several else self._of_tasks(), len(self))

    def _of_tasks(self) -> Iterator[Item]:
        """One question a scene; the tasks take turns."""
        given = self.settings
        for index in count():
            for task in given.asked:
                conversation = held_out_conversation(
                    task,
                    index,
                    seed=given.seed,
                    side=given.side,
                    any_size=given.any_size,
                    draw=DRAWS[given.split],
                )
                yield self._item(f"{task}-{index}", example_of(task, conversation))

    def _of_scenes(self) -> Iterator[Item]:
        """Several questions a scene."""
        given = self.settings
        for index in count():
            random = Random(
                f"{DRAWS[given.split]} {given.seed} {given.side} {given.any_size} scene {index}"
            )
            size = draw_size(random, given.side, any_size=given.any_size)
            kind = random.choices(list(KINDS), list(KINDS.values()))[0]
            scene = draw_scene(kind, size, random)
            name = f"{given.split}-scene-{index}"
            for number, turns in enumerate(self._about(scene, random)):
                example = example_of(turns[-1].exchange.task, Conversation(None, turns))
                yield self._item(f"scene-{index}-{number}", example, cluster=name)

    def _about(self, scene: Scene, random: Random) -> list[tuple[Turn, ...]]:
        """Different questions about a scene, each with what is said before it.

        One of each task, in turns, as long as there are others.
        """
        found: dict[tuple[str, ...], tuple[Turn, ...]] = {}
        tasks = random.sample(self.settings.asked, len(self.settings.asked))
        for _ in range(self.settings.questions_per_scene):
            for task in tasks:
                pair = ask_follow_up(scene, random) if task == "follow_up" else None
                one = None if task == "follow_up" else ASK[task](scene, random)
                asked = pair or ((one,) if one else ())
                if asked:
                    key = tuple(exchange.question for exchange in asked)
                    turns = tuple(
                        Turn(
                            () if turn else (scene,),
                            Exchange(
                                exchange.task, vary(exchange.question, random), exchange.answer
                            ),
                        )
                        for turn, exchange in enumerate(asked)
                    )
                    found.setdefault(key, turns)
                if len(found) == self.settings.questions_per_scene:
                    return list(found.values())
        return list(found.values())

    def _item(self, name: str, example: Example, *, cluster: str | None = None) -> Item:
        if example.task in WITHOUT_A_PICTURE:
            # The same fact in other words is no new evidence.
            cluster = f"{example.task} {example.answer}"
        return Item(
            id=f"{self.settings.split}-{name}",
            request=request_of(example),
            reference=example.answer,
            cluster=cluster,
            task=example.task,
        )


def request_of(example: Example) -> Request:
    """The question with its pictures: as text where nothing was said before, else as messages."""
    images = iter(example.images)
    messages: list[dict[str, Any]] = []
    for message in example.messages:
        content = message["content"]
        if isinstance(content, list):
            content = [
                {"type": "image", "image": next(images)} if part["type"] == "image" else part
                for part in content
            ]
        messages.append({**message, "content": content})
    if len(messages) > 1:
        return Request(messages=messages)
    return Request(messages[0]["content"][-1]["text"], images=example.images)
