"""What drafting brings where text repeats itself, and what it costs where it does not.

    python benchmarks/lookup.py MODEL [--tokens 128] [--repeats 5] [--draft PIPELINE]

MODEL is a pipeline, such as an export of what `benchmarks/models.py` writes: a random model, which
repeats itself without end when it is greedy ("copies"), and not at all when it draws from nearly
flat logits ("random"). Each row is one kind of text, decoded with `autoregressive` and with
`prompt_lookup` in turn: the median tokens a second of both, the ratio of the two runs of a
repetition (median and range), and whether the tokens are the same. With --draft, a pipeline of the
same vocabulary drafts as well, by the strategy `draft`.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import triptych
from triptych.core.pipeline import Pipeline
from triptych.core.reply import Reply

TEXT = "The keeper wrote the weather into the book, and the book lay by the lamp."
KINDS = {
    "copies": {"no_sample": True},
    "random": {"sampler": [{"temperature": 50.0}, "draw"]},
}


def timed(pipe: Pipeline, kind: str, tokens: int, seed: int) -> tuple[float, Reply]:
    """Tokens a second after the first, and the reply."""
    reply = pipe.generate(TEXT, max_new_tokens=tokens, seed=seed, **KINDS[kind])
    return (len(reply.tokens) - 1) / reply.timings.decode, reply


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--draft", type=Path)
    parser.add_argument("--cost", type=float, default=0.3)
    options = parser.parse_args()
    plain = triptych.load(options.model)
    strategies: dict[str, object] = {"prompt_lookup": "prompt_lookup"}
    if options.draft is not None:
        item = {"pipeline": str(options.draft.resolve()), "cost": options.cost}
        strategies["draft"] = {"draft": item}
    pipes = {
        name: triptych.load(options.model, overrides={"strategy": item}, allow_outside=True)
        for name, item in strategies.items()
    }
    for pipe in (plain, *pipes.values()):
        timed(pipe, "copies", 16, 0)
    print("text    strategy       plain tok/s  drafted  ratio (range)      same")
    for kind in KINDS:
        rows: dict[str, list[tuple[float, float]]] = {name: [] for name in pipes}
        same = dict.fromkeys(pipes, True)
        for seed in range(options.repeats):
            before, expected = timed(plain, kind, options.tokens, seed)
            for name, pipe in pipes.items():
                after, reply = timed(pipe, kind, options.tokens, seed)
                same[name] &= reply.tokens == expected.tokens
                rows[name].append((before, after))
        for name, pairs in rows.items():
            ratios = sorted(after / before for before, after in pairs)
            print(
                f"{kind:7} {name:14} {statistics.median(one for one, _ in pairs):11.1f} "
                f"{statistics.median(one for _, one in pairs):8.1f} "
                f"{statistics.median(ratios):6.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})".ljust(66)
                + str(same[name])
            )


if __name__ == "__main__":
    main()
