"""Visual-token reducers on the built-in model: accuracy and speed against the share that stays.

    python benchmarks/reducers.py [--reducers token_norm ...] [--ratios 1 0.5 ...] [--per-task 40]
                                  [--speed MODEL --side 768]

The first table has a row for each reducer and ratio: exact match on held-out questions about
pictures, in percent, by groups of tasks; how many visual tokens stayed; and how long a prompt
with one picture took, in parts of the time without a reducer. Ratios are timed in turns, and the
median over the rounds counts; the picture's features are known by then, so that what is timed is
the reducer and the decoder. `--speed MODEL` times another pipeline's prompts and nothing else, with
a noisy picture of `--side` pixels, because sketch has 36 visual tokens at the most. `visionzip`
and `fastv` look at attention, and run on exports of `checkpoints/sketch` made for them.
"""

from __future__ import annotations

import argparse
import atexit
import math
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image

import triptych
from triptych import Request
from triptych.export import export_checkpoint
from triptych.models.sketch.accuracy import MAX_NEW_TOKENS, Score, measure
from triptych.models.sketch.conversations import Example
from triptych.models.sketch.dataset import request_of

REDUCERS = ("token_random", "token_grid", "token_norm", "token_merge", "visionzip", "fastv")
CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "sketch"
ENCODER_LAYER = 4
"""Whose attention visionzip ranks by: the last but one, as in the paper."""
SPLIT = 2
"""Where fastv drops tokens: behind the second layer, as in the paper."""
RATIOS = (1.0, 0.75, 0.5, 0.25, 0.1)
GROUPS = {
    "what": ("color", "shape", "size", "exists"),
    "where": ("position", "follow_up"),
    "how many": ("count",),
    "reading": ("read",),
    "pattern": ("pattern",),
    "whole scene": ("describe", "json", "colors"),
    "two pictures": ("compare",),
}
"""The tasks that look at pictures."""

ROUNDS = 15
QUESTION = "Describe this image."
FRESH = {"session.prefix_cache": False}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Accuracy and speed of visual-token reducers.")
    parser.add_argument("--reducers", nargs="+", default=REDUCERS)
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--per-task", type=int, default=40)
    parser.add_argument("--side", type=int, default=768, help="of the picture for --speed")
    parser.add_argument("--speed", metavar="MODEL", help="time this pipeline and nothing else")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    cells = [(name, ratio) for name in given.reducers for ratio in given.ratios]
    timed = Timed(given.speed or "sketch", cells, noisy(given.side if given.speed else 192))
    timed.run(given.rounds)
    titles = [] if given.speed else [*GROUPS, "all"]
    row("reducer", "ratio", *titles, "visual tokens", "time of a prompt")
    row(*["---"] * (4 + len(titles)))
    for name, ratio in cells:
        scores = [] if given.speed else accuracy(name, ratio, given.per_task)
        row(name, f"{ratio:g}", *scores, timed.tokens(name, ratio), timed.part(name, ratio))
    if not given.speed:
        print(f"\n{given.per_task} questions per task; {given.rounds} rounds")


def row(*cells: str) -> None:
    """One line of a Markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def pipeline(model: str, name: str, ratio: float) -> triptych.Pipeline:
    """`model` with a reducer behind its positions, or where it looks at attention."""
    item, place = f"{{{name}: {ratio}}}", "after mrope"
    if name == "visionzip":
        model, item = exported(), f"{{visionzip: {{ratio: {ratio}, layer: {ENCODER_LAYER}}}}}"
    if name == "fastv":
        model, place = exported(SPLIT), "before decoder"
        item = f"{{fastv: {{ratio: {ratio}, layer: {SPLIT - 1}}}}}"
    return triptych.load(model, insert=[f"{place}: {item}"], overrides=FRESH)


@cache
def exported(split: int | None = None) -> str:
    """An export of sketch's checkpoint that tells what is attended to."""
    out = Path(mkdtemp()) / "sketch"
    atexit.register(shutil.rmtree, out.parent)
    return str(
        export_checkpoint(CHECKPOINT, out, expose=f"vision_attention:{ENCODER_LAYER}", split=split)
    )


def noisy(side: int) -> Image.Image:
    """A square picture that no two tokens of are alike."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(pixels)


def accuracy(name: str, ratio: float, per_task: int) -> list[str]:
    """Exact match in percent for each of GROUPS, and over all of their tasks."""
    tasks = [task for group in GROUPS.values() for task in group]
    found = measure(answers(pipeline("sketch", name, ratio)), per_task=per_task, tasks=tasks)
    by_task = {score.task: score for score in found}
    groups = [[by_task[task] for task in group] for group in GROUPS.values()]
    return [percent(scores) for scores in [*groups, found]]


def answers(pipe: triptych.Pipeline) -> Callable[[Sequence[Example]], list[str]]:
    """Gives the pipeline's greedy answers."""

    def answer(questions: Sequence[Example]) -> list[str]:
        requests = [request_of(question) for question in questions]
        replies = pipe.generate_batch(requests, no_sample=True, max_new_tokens=MAX_NEW_TOKENS)
        return [reply.text for reply in replies]

    return answer


def percent(scores: Sequence[Score]) -> str:
    """How many of all questions were answered rightly."""
    right, total = sum(one.right for one in scores), sum(one.total for one in scores)
    return f"{100 * right / total:.1f}"


class Timed:
    """Prompts of one picture, timed in turns over the cells and a pipeline without a reducer."""

    def __init__(
        self, model: str, cells: Sequence[tuple[str, float]], picture: Image.Image
    ) -> None:
        self.request = Request(QUESTION, images=[picture], settings={"max_new_tokens": 1})
        self.pipes = {cell: pipeline(model, *cell) for cell in cells}
        self.plain = triptych.load(model, overrides=FRESH)
        self.ratios: dict[tuple[str, float], list[float]] = {cell: [] for cell in cells}

    def run(self, rounds: int) -> None:
        """Time `rounds` of each, after one that warms up."""
        prompts = {pipe: pipe.processor.prompt(self.request) for pipe in self._all()}

        def seconds(pipe: triptych.Pipeline) -> float:
            begin = time.perf_counter()
            _ = pipe.begin(prompts[pipe], dict(self.request.settings)).reply
            return time.perf_counter() - begin

        for pipe in self._all():
            seconds(pipe)
        for _ in range(rounds):
            plain = seconds(self.plain)
            for cell, pipe in self.pipes.items():
                self.ratios[cell].append(seconds(pipe) / plain)

    def tokens(self, name: str, ratio: float) -> str:
        """How many of the picture's tokens stayed, of how many."""
        whole = self.plain.run_until("image_features", self.request)
        left = self.pipes[name, ratio].run_until("image_features", self.request)
        if name == "fastv":
            left = left[: math.ceil(ratio * len(left))]
        return f"{len(left)} of {len(whole)}"

    def part(self, name: str, ratio: float) -> str:
        """The median time in parts of that without a reducer."""
        return f"{statistics.median(self.ratios[name, ratio]):.2f}"

    def _all(self) -> list[triptych.Pipeline]:
        return [self.plain, *self.pipes.values()]


if __name__ == "__main__":
    main()
