"""A model in numpy, to try strategies on without weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from triptych.core.prompt import Prompt
from triptych.core.request import Request
from triptych.core.sampling import Chain
from triptych.core.sequences.sequence import Column, Sequence
from triptych.core.spans import Logits, Span, Strategy
from triptych.testing.require import require


@dataclass
class FakeGeneration:
    """One request in progress.

    It ends with a token of `eos_ids`, after `max_new_tokens`, or where the sequence is full.
    """

    sequence: Sequence
    chain: Chain
    max_new_tokens: int
    eos_ids: Collection[int] = ()
    emitted: list[int] = field(default_factory=list)
    company: int = 1
    request: Request | None = None
    branches: dict[str, Sequence] = field(default_factory=dict)
    _ended: bool = False

    @property
    def ended(self) -> bool:
        """Whether the last token was emitted."""
        return self._ended

    @property
    def prompt(self) -> Prompt:
        """What was committed before the first token; it has no media."""
        return Prompt(self.chain.tokens[: self.chain.prompt_length])

    def emit(self, token: int) -> bool:
        """True when `token` was the last; AssertionError when one comes after the end."""
        require(not self._ended, f"token {token} was emitted after the end")
        self.emitted.append(token)
        self._ended = (
            token in self.eos_ids
            or len(self.emitted) >= self.max_new_tokens
            or self.sequence.room <= 0
        )
        return self._ended

    def branch(self, name: str, edit: Callable[[Prompt], Prompt]) -> Sequence:
        """A second sequence, under `name`, from an edited copy of the prompt."""
        if name not in self.branches:
            self.branches[name] = Sequence(self.sequence.max_length)
        sequence = self.branches[name]
        sequence.align(edit(self.prompt))
        return sequence


class FakeDecoder:
    """Logits that depend on the last `order` tokens, and on nothing else but the seed.

    vocabulary: V; a small one repeats itself soon, which is what a drafter needs.
    passes: how many spans it has forwarded. spent: of how many rows each was.

    Its logits live until its next pass and are NaN from then on, so a strategy that keeps
    them without a copy does not get away with it.
    """

    def __init__(self, *, vocabulary: int = 12, order: int = 2, seed: int = 0) -> None:
        self.vocabulary = vocabulary
        self.order = order
        self.seed = seed
        self.passes = 0
        self.spent: list[int] = []
        self._given: list[Logits] = []

    def logits(self, tokens: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """float32 [V]: what comes after `tokens`, int64 [T]."""
        last = np.asarray(tokens, np.int64)[-self.order :]
        rng = np.random.default_rng([self.seed, *last.tolist()])
        return (2.5 * rng.standard_normal(self.vocabulary)).astype(np.float32)

    def cost(self, row: float) -> float:
        """How many steps its passes would take, if each row but a pass's first takes `row`."""
        return sum(1 + row * (rows - 1) for rows in self.spent)

    def forward(self, spans: Iterable[Span]) -> list[Logits]:
        """Forward what is pending in each; float32 [rows, V] each."""
        for stale in self._given:
            stale.fill(np.nan)
        self._given = [self._forward(span) for span in spans]
        return self._given

    def generate(
        self,
        strategy: Strategy,
        chain: Chain,
        *,
        max_new_tokens: int = 100,
        max_length: int = 1000,
        eos_ids: Collection[int] = (),
    ) -> FakeGeneration:
        """Run `strategy` to its end on the chain's committed tokens as the prompt.

        Raises what its `check_chain` does, if it has one.
        """
        getattr(strategy, "check_chain", _accept)(chain.steps)
        generation = FakeGeneration(Sequence(max_length), chain, max_new_tokens, eos_ids)
        generation.sequence.append(chain.tokens)
        run = strategy.run(generation)
        try:
            spans = next(run)
            while True:
                spans = run.send(self.forward(spans))
        except StopIteration:
            return generation

    def _forward(self, span: Span) -> Logits:
        sequence = span.sequence
        require(
            1 <= span.rows <= sequence.pending,
            f"a span asks for {span.rows} rows of {sequence.pending} pending tokens",
        )
        self.passes += 1
        self.spent.append(span.rows)
        _enter(sequence)
        ends = range(len(sequence) - span.rows + 1, len(sequence) + 1)
        return np.stack([self.logits(sequence.tokens[:end]) for end in ends])


def _enter(sequence: Sequence) -> None:
    """What the INPUT stages do: fill the table's rows of what was appended."""
    new = sequence.tokens[sequence.entered :]
    ports = {
        "input_ids": new,
        "visual_index": np.full(len(new), -1, np.int64),
        "source": np.arange(sequence.entered, len(sequence)),
    }
    for name, values in ports.items():
        if name in sequence.table:
            sequence.table[name].extend(values)
        else:
            sequence.table[name] = Column(values, 0)
    sequence.entered = len(sequence)
    sequence.appended = []
    sequence.forwarded = len(sequence)


def _accept(steps: object) -> None:
    """What a strategy does that takes any chain."""
