"""What drafting brings where text repeats itself, and what it costs where it does not.

    python benchmarks/lookup.py MODEL [--tokens 128] [--pairs 9] [--kind random] [--draft PIPELINE]

MODEL is a pipeline, such as an export of what `benchmarks/models.py` writes: a random model, which
repeats itself without end when it is greedy ("copies"), and not at all when it draws from nearly
flat logits ("random"). Each row is one kind of text, decoded with `autoregressive` and with
`prompt_lookup` in pairs, every other one the other way round: the median tokens a second of both;
the median ratio of a pair, the interval that holds it with 95 percent confidence, and the range;
how many tokens were drafted for each that was decoded; and whether the tokens are the same. With
--draft, a pipeline of the same vocabulary drafts as well, by the strategy `draft`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import triptych
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.pipeline import Pipeline
from triptych.core.reply import Reply
from triptych.core.spans import Strategy
from triptych.plugins.strategies.pace import Pace

TEXT = "The keeper wrote the weather into the book, and the book lay by the lamp."
KINDS = {
    "copies": {"no_sample": True},
    "random": {"sampler": [{"temperature": 50.0}, "draw"]},
}
CONFIDENCE = 0.95


def timed(
    pipe: Pipeline, strategy: Strategy, kind: str, tokens: int, seed: int
) -> tuple[float, Reply]:
    """Tokens a second after the first, and the reply.

    All strategies run on one pipeline: of two that hold the same weights, each in memory of its
    own, one was 7 percent faster than the other, whatever the strategies.
    """
    with patch.object(pipe, "_strategy", strategy):
        reply = pipe.generate(TEXT, max_new_tokens=tokens, seed=seed, **KINDS[kind])
    return (len(reply.tokens) - 1) / reply.timings.decode, reply


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--draft", type=Path)
    parser.add_argument("--cost", type=float, default=0.3)
    options = parser.parse_args()
    items: dict[str, object] = {name: name for name in ("autoregressive", "prompt_lookup")}
    if options.draft is not None:
        item = {"pipeline": str(options.draft.resolve()), "cost": options.cost}
        items["draft"] = {"draft": item}
    pipe = triptych.load(options.model)
    strategies = {
        name: pipe._made(  # noqa: SLF001 - one pipeline, see `timed`
            load_spec(
                options.model,
                catalog=Catalog(),
                overrides={"strategy": item},
                allow_outside=True,
            ).strategy
        )
        for name, item in items.items()
    }
    for strategy in strategies.values():
        timed(pipe, strategy, "copies", 16, 0)
    plain = strategies.pop("autoregressive")
    print("text    strategy       plain tok/s  strategy  ratio [interval] (range)  drafted  same")
    for kind in KINDS if options.kind is None else [options.kind]:
        for name, strategy in strategies.items():
            print(
                f"{kind:7} {name:14} {compared(pipe, plain, strategy, kind, options)}", flush=True
            )


def compared(
    pipe: Pipeline, plain: Strategy, strategy: Strategy, kind: str, options: argparse.Namespace
) -> str:
    """Measure the pairs of a kind of text and a strategy: the rest of its row."""
    rates: dict[Strategy, list[float]] = {plain: [], strategy: []}
    drafted = decoded = 0
    same = True

    def passed(pace: Pace, tokens: int, right: int) -> None:
        nonlocal drafted, decoded
        drafted, decoded = drafted + tokens, decoded + right + 1
        original(pace, tokens, right)

    original = Pace.passed
    with patch.object(Pace, "passed", passed):
        for seed in range(options.pairs):
            replies = {}
            for one in (plain, strategy) if seed % 2 else (strategy, plain):
                rate, replies[one] = timed(pipe, one, kind, options.tokens, seed)
                rates[one].append(rate)
            same &= replies[plain].tokens == replies[strategy].tokens
    ratios = sorted(b / a for a, b in zip(rates[plain], rates[strategy], strict=True))
    low, high = interval(ratios)
    return (
        f"{statistics.median(rates[plain]):11.1f} {statistics.median(rates[strategy]):9.1f} "
        f"{statistics.median(ratios):6.2f} [{low:.2f}, {high:.2f}] "
        f"({ratios[0]:.2f}-{ratios[-1]:.2f}) {drafted / max(decoded, 1):8.2f}  {same}"
    )


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Two of the sorted values, between which the median of all possible ones lies.

    As surely as `CONFIDENCE` (the sign test's interval), if there are six or more.
    """
    count = len(ratios)
    left_out, outside = 0, 0.5**count
    while 2 * outside <= 1 - CONFIDENCE and 2 * (left_out + 1) <= count:
        left_out += 1
        outside += math.comb(count, left_out) * 0.5**count
    place = max(left_out - 1, 0)
    return ratios[place], ratios[count - 1 - place]


if __name__ == "__main__":
    main()
