"""How much faster several sequences are together than one: their tokens a second in all.

    python benchmarks/batch.py [FOLDER] [--sizes 1 2 4 8] [--prompt 32] [--tokens 64] [--repeat 3]

FOLDER is a pipeline's; `sketch` without one. Prompts are random tokens, replies greedy and equally
long. Sizes are measured in turn, and each round gives a ratio to its own first size, because
machines change while one looks. Only decoding is timed. Prints medians, and the lowest and highest.
"""

# ruff: noqa: SLF001 - rounds are driven one by one, which readers of streams have no door for

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import triptych
from triptych.core.pipeline import Pipeline
from triptych.core.prompt import Prompt
from triptych.core.requests.stream import Stream


def begin(pipe: Pipeline, prompt: int, tokens: int, seed: int) -> Stream:
    """A greedy reply of `tokens` tokens to a random prompt, which has been forwarded."""
    ids = np.random.default_rng(seed).integers(10, 250, prompt)
    chain = [{"min_new_tokens": tokens}, "greedy"]
    stream = pipe.begin(Prompt(ids), {"max_new_tokens": tokens, "sampler": chain})
    while not made(stream):
        advance(pipe, stream)
    return stream


def made(stream: Stream) -> int:
    """How many tokens it has."""
    return len(stream._job.generation.tokens)


def advance(pipe: Pipeline, stream: Stream) -> None:
    """One round of the scheduler, whose text nobody reads."""
    stream._job.generation.pieces.clear()
    pipe._scheduler.advance(stream._job)


def tokens_a_second(pipe: Pipeline, size: int, prompt: int, tokens: int) -> float:
    """Tokens a second of `size` sequences that decode together."""
    # The earlier ones go on while the prompts of the later ones are forwarded.
    streams = [begin(pipe, prompt, tokens + size - place, place) for place in range(size)]
    before = sum(map(made, streams))
    start = time.perf_counter()
    while not all(stream._job.done for stream in streams):
        advance(pipe, streams[-1])
    seconds = time.perf_counter() - start
    return (sum(map(made, streams)) - before) / seconds


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default="sketch")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    pipe = triptych.load(
        options.folder,
        overrides={"session.max_batch": max(options.sizes), "session.prefix_cache": False},
    )
    tokens_a_second(pipe, max(options.sizes), options.prompt, 4)
    rounds = [
        [tokens_a_second(pipe, size, options.prompt, options.tokens) for size in options.sizes]
        for _ in range(options.repeat)
    ]
    print("sequences  tokens/s  times the first")
    for place, size in enumerate(options.sizes):
        rates = [one[place] for one in rounds]
        ratios = sorted(one[place] / one[0] for one in rounds)
        print(
            f"{size:9}  {statistics.median(rates):8.1f}  {statistics.median(ratios):.2f}"
            f" ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
