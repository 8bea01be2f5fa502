"""What is saved on what was asked before: the time to the first token, as ratios.

    python benchmarks/prefix.py MODEL [--picture 384] [--prefix 500] [--repeats 5]

MODEL is a pipeline, such as an export of what `benchmarks/models.py` writes. Two cases in turn,
each with a picture and a text that are new in each repetition:

- image: one question about a picture, then another one about the same picture.
- prefix: a prompt of some hundred tokens, then another that ends differently.

Each row gives the median over the repetitions of the first time, the second time, and of their
ratio, with its range; then what the second took with `session.prefix_cache: false` (the features of
the picture are still known) and with `feature_cache: false` as well, and whether its tokens are the
same ones. "vision" and "prefill" are the second's `timings`. Time counts from the call: reading the
picture, rendering and tokenizing are in it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import triptych
from triptych.core.pipeline import Pipeline
from triptych.core.reply import Reply

NEW_TOKENS = 8
QUESTIONS = ("What is in this picture?", "And which colours does it have?")
OFF = {"session.prefix_cache": False}
PIPELINES = {
    "cached": {},
    "features only": OFF,
    "nothing": {**OFF, "session.feature_cache": False},
}


@dataclass(frozen=True)
class Timed:
    """seconds: from the call to the first piece of text."""

    seconds: float
    reply: Reply


def asked(pipe: Pipeline, text: str, images: list[Path]) -> Timed:
    """Ask greedily, and read the reply to its end."""
    begin = time.perf_counter()
    stream = pipe.stream(text, images=images, no_sample=True, max_new_tokens=NEW_TOKENS)
    next(stream, None)
    return Timed(time.perf_counter() - begin, stream.reply)


def pairs(case: str, folder: Path, options: argparse.Namespace) -> Iterator[list[tuple]]:
    """Two requests that share their begin, anew for each repetition."""
    random = np.random.default_rng(0)
    for number in range(options.repeats):
        if case == "image":
            size = (options.picture, options.picture, 3)
            picture = folder / f"{number}.png"
            Image.fromarray(random.integers(0, 256, size, np.uint8)).save(picture)
            yield [(question, [picture]) for question in QUESTIONS]
        else:
            words = " ".join(map(str, random.integers(0, 10, options.prefix // 2)))
            yield [(f"{words} {question}", []) for question in QUESTIONS]


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--picture", type=int, default=384)
    parser.add_argument("--prefix", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    pipes = {
        name: triptych.load(options.model, overrides=overrides)
        for name, overrides in PIPELINES.items()
    }
    for pipe in pipes.values():
        asked(pipe, "Hello", [])
    print("case    tokens cached  first s second s  ratio (range)         features nothing same")
    with tempfile.TemporaryDirectory() as folder:
        for case in ("image", "prefix"):
            rows = []
            for first, second in pairs(case, Path(folder), options):
                before = asked(pipes["cached"], *first)
                asked(pipes["features only"], *first)
                after = {name: asked(pipe, *second) for name, pipe in pipes.items()}
                rows.append((before, after))
            shown(case, rows)


def shown(case: str, rows: list[tuple[Timed, dict[str, Timed]]]) -> None:
    """One line for all repetitions of a case."""

    def median(name: str) -> float:
        return statistics.median(after[name].seconds for _, after in rows)

    ratios = sorted(before.seconds / after["cached"].seconds for before, after in rows)
    reply = rows[-1][1]["cached"].reply
    same = all(len({timed.reply.tokens for timed in after.values()}) == 1 for _, after in rows)
    print(
        f"{case:7} {reply.usage.prompt_tokens:6} {reply.usage.cached_tokens:6} "
        f"{statistics.median(before.seconds for before, _ in rows):8.3f} {median('cached'):8.3f} "
        f"{statistics.median(ratios):6.1f} ({ratios[0]:.1f}-{ratios[-1]:.1f})".ljust(62)
        + f"{median('features only'):8.3f} {median('nothing'):7.3f} {same}"
    )
    timings = reply.timings
    print(f"        vision {timings.vision:.4f} s, prefill {timings.prefill:.4f} s")


if __name__ == "__main__":
    main()
