"""The beams of one search: those that run, and the texts that have ended."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Self

import numpy as np
import numpy.typing as npt

from triptych.core.sampling import Candidates, Chain, log_softmax
from triptych.core.sequences.sequence import Sequence as TokenSequence
from triptych.core.spans import Generation
from triptych.plugins.strategies.beam_settings import BeamSettings


@dataclass
class Beam:
    """A text that goes on. score: the sum of its tokens' log-probabilities."""

    sequence: TokenSequence
    chain: Chain
    tokens: tuple[int, ...] = ()
    score: float = 0.0


@dataclass(frozen=True)
class Ended:
    """A text that has ended, and its score by length. chain: has committed all of it."""

    tokens: tuple[int, ...]
    score: float
    chain: Chain


@dataclass(frozen=True)
class _Continuation:
    """A token after a beam. score: of the text with it, as the beam and this step's costs say.

    row: the logits that it is one of.
    """

    beam: int
    token: int
    score: float
    candidates: Candidates
    row: npt.NDArray[np.float32]


class BeamGroup:
    """One beam search. settings: the strategy's; of its width a group has its share."""

    def __init__(
        self, beam: Beam, settings: BeamSettings, ends: frozenset[int], limit: int
    ) -> None:
        self.beams = [beam]
        self.settings = settings
        self.width = settings.width // settings.groups
        self.ends = ends
        self.limit = limit
        self.ended: list[Ended] = []
        self.running = True
        self._steps = 0

    @classmethod
    def start(cls, generation: Generation, settings: BeamSettings, limit: int) -> list[Self]:
        """The groups after the prompt; the first has the generation's own sequence."""
        ends = frozenset(generation.eos_ids)
        sequence, chain = generation.sequence, generation.chain
        forks = [sequence, *(sequence.fork() for _ in range(settings.groups - 1))]
        return [cls(Beam(one, chain.fork()), settings, ends, limit) for one in forks]

    @property
    def best(self) -> Ended:
        """The best text that has ended."""
        return self.ended[0]

    def step(self, rows: Sequence[npt.NDArray[np.float32]], taken: Iterable[int]) -> list[int]:
        """Go on by a token. rows: the logits of each beam; taken: other groups' tokens, now.

        Returns the tokens that its beams took.
        """
        self._steps += 1
        # So many that `width` of them go on even where every beam may end in every way.
        count = max(2, 1 + len(self.ends)) * self.width
        costs = {token: times * self.settings.diversity for token, times in Counter(taken).items()}
        found = [
            one
            for place, (beam, row) in enumerate(zip(self.beams, rows, strict=True))
            for one in _continuations(place, beam, row, costs, count)
        ]
        found.sort(key=lambda one: (-one.score, one.beam, one.token))
        found = found[:count]
        last = self._steps >= self.limit
        ending = [last or one.token in self.ends for one in found]
        self._end(one for one, ends in zip(found[: self.width], ending, strict=False) if ends)
        going = [one for one, ends in zip(found, ending, strict=True) if not ends][: self.width]
        self.running = bool(going) and self._may_improve(going[0].score)
        if self.running:
            self._go_on(going)
        return [one.token for one in going]

    def _end(self, found: Iterable[_Continuation]) -> None:
        full = self.settings.early_stopping is True and len(self.ended) == self.width
        length = self._steps**self.settings.length_penalty
        for one in found:
            if not full:
                beam = self.beams[one.beam]
                chain = beam.chain.fork()
                chain.accept(one.token, one.candidates, one.row)
                self.ended.append(Ended((*beam.tokens, one.token), one.score / length, chain))
        self.ended.sort(key=attrgetter("score"), reverse=True)
        del self.ended[self.width :]

    def _may_improve(self, best_running: float) -> bool:
        """Whether a text that goes on may still be better than the worst that has ended."""
        if len(self.ended) < self.width:
            return True
        if self.settings.early_stopping is True or self.settings.width == 1:
            # One beam is greedy search, as in transformers.
            return False
        penalty = self.settings.length_penalty
        never = self.settings.early_stopping == "never" and penalty > 0
        length = self.limit if never else self._steps
        best: float = best_running / length**penalty
        return best > self.ended[-1].score

    def _go_on(self, going: Sequence[_Continuation]) -> None:
        """Append each token to its beam's sequence; the last of a beam takes it, others fork."""
        left = Counter(one.beam for one in going)
        for place, beam in enumerate(self.beams):
            if not left[place]:
                # Not closed: that would close the forks that were made of it, too.
                beam.sequence.clear()
        beams = []
        for one in going:
            beam = self.beams[one.beam]
            left[one.beam] -= 1
            shared = left[one.beam] > 0
            sequence = beam.sequence.fork() if shared else beam.sequence
            chain = beam.chain.fork() if shared else beam.chain
            chain.accept(one.token, one.candidates, one.row)
            sequence.append([one.token])
            beams.append(Beam(sequence, chain, (*beam.tokens, one.token), one.score))
        self.beams = beams


def _continuations(
    place: int, beam: Beam, row: npt.NDArray[np.float32], costs: dict[int, float], count: int
) -> Iterable[_Continuation]:
    """The `count` best tokens after a beam."""
    candidates = beam.chain.warp(log_softmax(row).astype(np.float32))
    scores = candidates.logits.astype(np.float64)
    for token, cost in costs.items():
        scores[candidates.ids == token] -= cost
    if count < len(scores):
        edge = np.partition(scores, len(scores) - count)[len(scores) - count]
        places = np.flatnonzero(scores >= edge)
    else:
        places = np.arange(len(scores))
    for at in places[np.argsort(-scores[places], kind="stable")][:count]:
        score = beam.score + float(scores[at])
        if math.isfinite(score):
            yield _Continuation(place, int(candidates.ids[at]), score, candidates, row)
