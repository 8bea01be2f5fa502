"""What every strategy promises, as checks: ``check_strategy(PromptLookup, tokens=8)``."""

from __future__ import annotations

from collections.abc import Sequence as Row
from typing import Any

import numpy as np

from triptych.core.errors import InputError
from triptych.core.prompt import Prompt
from triptych.core.request import Request
from triptych.core.sampling import Candidates, Chain, Context
from triptych.core.sequences.sequence import Sequence
from triptych.core.spans import Logits, Span
from triptych.core.wiring.needs import Carried
from triptych.testing.check import Check, check, declares_neutral
from triptych.testing.fake_decoder import FakeDecoder, FakeGeneration
from triptych.testing.generators import global_generators
from triptych.testing.require import require
from triptych.testing.settings_checks import SETTINGS
from triptych.testing.subject import Subject

PROMPTS = ((3, 1, 4, 1, 5, 9, 2, 6), (2, 7, 1, 8, 2, 8, 1, 8))
SIGNS = 12
"""The decoder's vocabulary."""
TOKENS = 24
"""How long the replies are."""
MOST_PASSES = 200 * TOKENS
"""A strategy that asks for more has forgotten to end."""


def check_strategy(kind: type, **settings: Any) -> None:
    """Check the strategy class `kind` with these settings, on a `FakeDecoder`.

    One that has `load` is given a processor whose tokens are letters, 12 of them.
    Returns None, or raises AssertionError with a sentence that says what it breaks. The promises
    are `CHECKS`, one by one.
    """
    check(Subject("strategy", kind, settings))


def never_empty(subject: Subject) -> None:
    """A strategy yields spans until it has emitted the last token, and then returns."""
    for steps in CHAINS:
        run = _Run(subject, _loaded(subject.make()), steps())
        run.go()
        require(
            run.generation.ended,
            f"{subject.name} returned after {len(run.generation.emitted)} tokens, before `emit` "
            "had said that the last one was there.",
        )


def sound_spans(subject: Subject) -> None:
    """A strategy asks for no more rows than there are pending tokens, and one at least."""
    run = _Run(subject, _loaded(subject.make()), [Draws()])
    run.go()
    require(
        not run.unsound,
        f"{subject.name} asked for {run.unsound[:1]} rows of as many pending tokens; append "
        "tokens before a span asks for their logits.",
    )


def commits_what_it_emits(subject: Subject) -> None:
    """The tokens that are emitted are those that the chain has committed, in order."""
    run = _Run(subject, _loaded(subject.make()), [Draws()])
    run.go()
    chain = run.generation.chain
    committed = chain.tokens[chain.prompt_length :].tolist()
    emitted = run.generation.emitted
    require(
        committed == emitted,
        f"{subject.name} emitted {emitted[:8]} and committed {committed[:8]}; a token comes from "
        "`chain.choose`, or goes to `chain.accept`, once.",
    )


def stays_in_room(subject: Subject) -> None:
    """A strategy never appends more than the sequence has room for."""
    for room in range(1, 6):
        run = _Run(subject, _loaded(subject.make()), [Greedy()], room=room)
        try:
            run.go()
        except InputError as error:
            raise AssertionError(
                f"{subject.name} appended beyond the end of a sequence with room for {room} "
                "tokens; look at `sequence.room` before a draft."
            ) from error


def inputs_unchanged(subject: Subject) -> None:
    """The logits that a strategy is sent are as they were."""
    run = _Run(subject, _loaded(subject.make()), [Draws()])
    run.go()
    require(
        not run.spoiled,
        f"{subject.name} wrote to the logits that it was sent; they are the decoder's own memory.",
    )


def determinism_by_seed(subject: Subject) -> None:
    """One seed gives one reply, whatever state other generators are in."""
    runs = [_Run(subject, _loaded(subject.make()), [Draws()], elsewhere=seed) for seed in (1, 2)]
    for run in runs:
        run.go()
    require(
        runs[0].generation.emitted == runs[1].generation.emitted,
        f"{subject.name} gave different tokens for one seed; randomness comes from "
        "`generation.chain` only.",
    )


def row_isolation(subject: Subject) -> None:
    """A reply does not depend on another that is decoded beside it, nor on one before."""
    alone = []
    for prompt in PROMPTS:
        run = _Run(subject, _loaded(subject.make()), [Draws()], prompt=prompt)
        run.go()
        alone.append(run.generation.emitted)
    one = _loaded(subject.make())
    runs = [_Run(subject, one, [Draws()], prompt=prompt) for prompt in PROMPTS]
    going = list(runs)
    while going:
        going = [run for run in going if run.step()]
    together = [run.generation.emitted for run in runs]
    require(
        alone == together,
        f"{subject.name} gave other tokens while another request was decoded beside it; what "
        "belongs to one generation lives in `run`, not on the strategy.",
    )


def neutral_is_identity(subject: Subject) -> None:
    """With the settings that it calls neutral, the tokens are those of plain decoding."""
    for steps in CHAINS:
        plain = _plain(steps())
        run = _Run(subject, _loaded(subject.make_neutral()), steps())
        run.go()
        require(
            run.generation.emitted == plain,
            f"{subject.name} calls {dict(subject.neutral or {})} neutral, and gave other tokens "
            "than one token per forward pass.",
        )


class Letters:
    """A processor for strategies that have `load`: a letter's token is its place, modulo 12."""

    offers = ()
    eos_ids: frozenset[int] = frozenset()
    max_context = None

    def prompt(self, request: Request) -> Prompt:
        """The letters of a request."""
        return Prompt(np.array(self.encode(request.text or ""), np.int64))

    def encode(self, text: str) -> list[int]:
        """The letters' tokens."""
        return [ord(letter) % SIGNS for letter in text]

    def decode(self, tokens: Row[int]) -> str:
        """A letter for each."""
        return "".join(chr(ord("a") + token) for token in tokens)


def _loaded(strategy: Any) -> Any:
    if hasattr(strategy, "load"):
        strategy.load(Letters())
    return strategy


class Greedy:
    """The most likely token."""

    def __call__(self, candidates: Candidates, context: Context) -> int:
        """The lowest id among equals."""
        del context
        return int(candidates.ids[np.argmax(candidates.logits)])


class Draws:
    """A token by its probability."""

    def __call__(self, candidates: Candidates, context: Context) -> int:
        """One number of the request's generator for each token."""
        shares = np.cumsum(candidates.probabilities())
        place = int(np.searchsorted(shares, context.rng.random()))
        return int(candidates.ids[min(place, len(candidates) - 1)])


CHAINS = (lambda: [Greedy()], lambda: [Draws()])


class _Run:
    """One reply in progress, a step at a time. unsound: spans nobody can forward."""

    def __init__(
        self,
        subject: Subject,
        strategy: Any,
        steps: list[Any],
        *,
        prompt: Row[int] = PROMPTS[0],
        room: int = 1000,
        elsewhere: int = 0,
    ) -> None:
        self.name = subject.name
        self.chain = Chain(steps, seed=7, prompt_tokens=prompt)
        self.decoder = FakeDecoder()
        self.generation = FakeGeneration(Sequence(len(prompt) + room), self.chain, TOKENS)
        self.generation.sequence.append(prompt)
        self.elsewhere = elsewhere
        self.unsound: list[int] = []
        self.spoiled = False
        self._passes = 0
        self._needs = tuple(getattr(strategy, "needs", ()))
        self._run = strategy.run(self.generation)
        self._sent: list[Logits] | None = None
        self._kept: list[Logits] = []

    def go(self) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        """Forward what is asked for next; False when the strategy has returned."""
        try:
            with global_generators(self._passes + self.elsewhere):
                spans = next(self._run) if self._sent is None else self._run.send(self._sent)
        except StopIteration:
            return False
        pairs = zip(self._sent or [], self._kept, strict=True)
        self.spoiled = self.spoiled or any(not np.array_equal(a, b) for a, b in pairs)
        self._passes += 1
        require(
            self._passes <= MOST_PASSES,
            f"{self.name} asked for {MOST_PASSES} passes and did not end; return when `emit` "
            "says that the generation has ended.",
        )
        require(spans, f"{self.name} yielded no span; it has nothing to wait for.")
        given = self.decoder.forward([self._sound(span) for span in spans])
        self._sent = [_with_needs(rows, self._needs) for rows in given]
        self._kept = [rows.copy() for rows in self._sent]
        return True

    def _sound(self, span: Span) -> Span:
        """The span, or the nearest one that can be forwarded."""
        if span.rows <= span.sequence.pending:
            return span
        self.unsound.append(span.rows)
        require(
            span.sequence.pending,
            f"{self.name} yielded a span of a sequence in which nothing is pending.",
        )
        return Span(span.sequence, span.sequence.pending)


def _with_needs(rows: Logits, names: tuple[str, ...]) -> Logits:
    """The logits with made-up values [V] of what a strategy says that it needs."""
    if not names:
        return rows
    return Carried.of(
        rows,
        [{name: np.roll(row, place) for place, name in enumerate(names, start=1)} for row in rows],
    )


def _plain(steps: list[Any]) -> list[int]:
    """One token per forward pass."""
    chain = Chain(steps, seed=7, prompt_tokens=PROMPTS[0])
    decoder = FakeDecoder()
    return [chain.choose(decoder.logits(chain.tokens)) for _ in range(TOKENS)]


CHECKS = (
    SETTINGS,
    Check("never_empty", never_empty),
    Check("sound_spans", sound_spans),
    Check("commits_what_it_emits", commits_what_it_emits),
    Check("stays_in_room", stays_in_room),
    Check("inputs_unchanged", inputs_unchanged),
    Check("determinism_by_seed", determinism_by_seed),
    Check("row_isolation", row_isolation),
    Check("neutral_is_identity", neutral_is_identity, declares_neutral),
)
"""What a strategy promises."""
