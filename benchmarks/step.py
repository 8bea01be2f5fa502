"""What a decoding step costs beside a loop written by hand over the same graphs.

    python benchmarks/step.py [PIPELINE] [--contexts 32 512] [--pairs 20] [--tokens 32]

The hand-written loop binds everything once: the embeddings' output is the decoder's input, the
caches are their own presents, and each token writes its id, its position and a longer mask. It
runs the pipeline's own sessions, in turn with the pipeline: a pair is the same reply by each. Both
choose greedily; the pipeline also streams its text.

Prints, for each length of the prompt,

- microseconds a token of both, and the ratio, as the median of the pairs with its 95 % interval;
- outside: microseconds a token outside of the sessions' runs, of both. That of the pipeline is what
  the framework costs: from where `run_with_iobinding` of one session returns to where that of
  the next is called, the embeddings' and the decoder's, so with binding the mask, choosing the
  token, its text, the stream and the scheduler. What `run_with_iobinding` does is ONNX Runtime's;
- median: the same of the median step of each reply, so without those in which the system gave the
  processor to somebody else, and without the first after the prompt.

PIPELINE is a folder as `triptych export` writes it, of a model with an embeddings graph; without
it, `sketch`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

import triptych
from triptych.core.graphs.onnx_stage import OnnxStage
from triptych.core.pipeline import Pipeline
from triptych.core.ports import Array
from triptych.core.prompt import Prompt

CONTEXTS = (32, 512)
PAIRS, TOKENS = 20, 32
_TAIL = 0.025
"""Either end of a 95 % interval leaves out so much."""


Runs = list[tuple[Any, float, float]]
"""Runs of all sessions, in their order: whose, when it began, when it ended."""


class Timed:
    """A session that notes its runs. Both loops call it, and each pays for the notes."""

    def __init__(self, session: Any, runs: Runs) -> None:
        self._session, self._run = session, session.run_with_iobinding
        self._runs = runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any, *options: Any) -> None:
        """Run what is bound."""
        begin = time.perf_counter()
        self._run(binding, *options)
        self._runs.append((self, begin, time.perf_counter()))


class ByHand:
    """The loop that one would write for these two graphs and nothing else."""

    def __init__(self, embeddings: OnnxStage, decoder: OnnxStage, room: int) -> None:
        """room: tokens that the caches have place for."""
        import onnxruntime

        self._embed, self.decode = embeddings.graph.session, decoder.graph.session
        self._value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._ports = {port.name: port for port in decoder.graph.inputs}
        hidden = self._ports["inputs_embeds"].axes[-1]
        vocabulary = next(port for port in decoder.graph.outputs if port.name == "logits").axes[-1]
        self._hidden = hidden
        self._logits = np.zeros((1, 1, vocabulary), np.float32)
        self._mask = np.ones((1, room), np.int64)
        self._caches = {
            pair: np.zeros(
                [
                    1 if axis == "B" else axis if isinstance(axis, int) else room
                    for axis in pair.past.axes
                ],
                pair.past.dtype,
            )
            for pair in decoder.cache_pairs
        }
        self._room = room

    def prefill(self, tokens: Array) -> None:
        """Forward the prompt, and make the bindings of the steps after it."""
        self._bind(len(tokens))
        self._ids[0] = tokens
        self._positions[...] = np.arange(len(tokens))
        self._length = len(tokens)
        self._run()
        self._bind(1)

    def rewind(self, length: int) -> None:
        """Go on after the first `length` tokens."""
        self._length = length

    def step(self, token: int) -> int:
        """One token further."""
        self._ids[0, 0] = token
        self._positions[...] = self._length
        self._length += 1
        return self._run()

    def _run(self) -> int:
        self._embed.run_with_iobinding(self._embedding)
        self._decoding.bind_cpu_input("attention_mask", self._mask[:, : self._length])
        self.decode.run_with_iobinding(self._decoding)
        return int(self._logits[0, 0].argmax())

    def _bind(self, count: int) -> None:
        """Bindings for slices of `count` tokens."""
        self._embedding, self._decoding = self._embed.io_binding(), self.decode.io_binding()
        self._ids = np.zeros((1, count), np.int64)
        self._positions = np.zeros(
            [
                count if axis == "S" else 1 if axis == "B" else axis
                for axis in self._ports["position_ids"].axes
            ],
            np.int64,
        )
        embeds = self._value(np.zeros((1, count, self._hidden), np.float32))
        self._embedding.bind_ortvalue_input("input_ids", self._value(self._ids))
        self._embedding.bind_ortvalue_output("inputs_embeds", embeds)
        self._decoding.bind_ortvalue_input("inputs_embeds", embeds)
        self._decoding.bind_ortvalue_input("position_ids", self._value(self._positions))
        last = np.full((1, 1), count - 1, np.int64)
        self._decoding.bind_ortvalue_input("logit_index", self._value(last))
        if "deepstack_embeds" in self._ports:
            layers = self._ports["deepstack_embeds"].axes[0]
            zeros = np.zeros((layers, 1, 1, self._hidden), np.float32)
            self._decoding.bind_ortvalue_input("deepstack_embeds", self._value(zeros))
        for pair, buffer in self._caches.items():
            cache = self._value(buffer)
            self._decoding.bind_ortvalue_input(pair.past.name, cache)
            self._decoding.bind_ortvalue_output(pair.present.name, cache)
        self._decoding.bind_ortvalue_output("logits", self._value(self._logits))


@dataclass(frozen=True)
class Side:
    """Seconds a token of one side of a pair: in all, and outside of the sessions' runs.

    median: outside, of the median step.
    """

    whole: float
    outside: float
    median: float

    @classmethod
    def of(cls, runs: Runs, decoder: Timed) -> Self:
        """From the end of the decoder's first run to that of its last."""
        first, *_, last = [place for place, run in enumerate(runs) if run[0] is decoder]
        steps = runs[first + 1 : last + 1]
        count = sum(run[0] is decoder for run in steps)
        whole = runs[last][2] - runs[first][2]
        inside = sum(end - begin for _, begin, end in steps)
        outside, waited = [], 0.0
        for (_, _, before), (session, begin, _) in pairwise(runs[first : last + 1]):
            waited += begin - before
            if session is decoder:
                outside.append(waited)
                waited = 0.0
        return cls(whole / count, (whole - inside) / count, statistics.median(outside))


class Loops:
    """The pipeline and the loop by hand, each after the same prompt of random tokens."""

    def __init__(
        self, pipe: Pipeline, by_hand: ByHand, runs: Runs, context: int, tokens: int
    ) -> None:
        """context: tokens of the prompt. tokens: to be made after the first, by either side."""
        self._runs = runs
        self._prompt = np.random.default_rng(context).integers(0, 256, context)
        self._pipe, self._hand, self._decoding = pipe, by_hand, by_hand.decode
        self._sequence = pipe.sequence()
        self._tokens = tokens
        by_hand.prefill(self._prompt)

    def ours(self) -> Sequence[int]:
        """The pipeline's reply. Its sequence keeps the prompt but for one token."""
        settings = {"no_sample": True, "max_new_tokens": self._tokens + 1}
        return self._pipe.begin(
            Prompt(self._prompt), settings, sequence=self._sequence
        ).reply.tokens

    def by_hand(self) -> Sequence[int]:
        """The same tokens."""
        made = [int(self._prompt[-1])]
        self._hand.rewind(len(self._prompt) - 1)
        for _ in range(self._tokens + 1):
            made.append(self._hand.step(made[-1]))
        return made[1:]

    def pair(self, *, ours_first: bool) -> tuple[Side, Side]:
        """One of each, in turn. Raises SystemExit when their tokens differ."""
        both = [self.ours, self.by_hand] if ours_first else [self.by_hand, self.ours]
        sides, tokens = {}, []
        for loop in both:
            self._runs.clear()
            tokens.append(tuple(loop()))
            sides[loop] = Side.of(self._runs, self._decoding)
        if tokens[0] != tokens[1]:
            raise SystemExit(f"the two loops choose different tokens: {tokens}")
        return sides[self.ours], sides[self.by_hand]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Between which of the sorted values the median of all such pairs lies, 19 times in 20."""
    ordered, count = sorted(values), len(values)
    outside, rank = 0.0, 0
    # A coin that is thrown `count` times says how many of the values lie below that median.
    while outside + math.comb(count, rank) / 2**count <= _TAIL:
        outside += math.comb(count, rank) / 2**count
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[-1 - rank]


def onnx_stages(pipe: Pipeline) -> Mapping[str, OnnxStage]:
    """The pipeline's graphs by the ports that tell them: `inputs_embeds` and `logits`."""
    stages = [wired.stage for wired in pipe._executor.wiring.span]  # noqa: SLF001 - no public door
    graphs = [stage for stage in stages if isinstance(stage, OnnxStage)]
    return {port.name: stage for stage in graphs for port in stage.writes}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pipeline", nargs="?", default="sketch")
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    args = parser.parse_args()
    pipe = triptych.load(args.pipeline)
    pipe.processor.eos_ids = frozenset()
    graphs = onnx_stages(pipe)
    runs: Runs = []
    for stage in set(graphs.values()):
        stage.graph._session = Timed(stage.graph.session, runs)  # noqa: SLF001 - nobody else needs it
    room = max(args.contexts) + args.tokens + 1
    by_hand = ByHand(graphs["inputs_embeds"], graphs["logits"], room)
    print(
        "context   ours us  by hand   ratio  95 % interval   outside us  by hand"
        "   median us  by hand"
    )
    for context in args.contexts:
        loops = Loops(pipe, by_hand, runs, context, args.tokens)
        loops.pair(ours_first=True)
        pairs = [loops.pair(ours_first=bool(index % 2)) for index in range(args.pairs)]
        low, high = interval([ours.whole / hand.whole for ours, hand in pairs])
        ratio = statistics.median(ours.whole / hand.whole for ours, hand in pairs)
        whole, outside, middle = (
            [
                1e6 * statistics.median(getattr(side, what) for side in sides)
                for sides in zip(*pairs, strict=True)
            ]
            for what in ("whole", "outside", "median")
        )
        print(
            f"{context:7}{whole[0]:10.0f}{whole[1]:9.0f}{ratio:8.3f}  {low:.3f} - {high:.3f}"
            f"{outside[0]:13.1f}{outside[1]:9.1f}{middle[0]:12.1f}{middle[1]:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
