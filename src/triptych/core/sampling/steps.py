"""The two kinds of sampling step, and what a step may do besides.

A step is made anew for each generation, so it may keep state on itself. It changes that
state in ``accept`` only: a row may be warped without a token being committed.
"""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

from triptych.core.sampling.candidates import Candidates, Scores
from triptych.core.sampling.context import Context
from triptych.core.sampling.vocabulary import Vocabulary


class Warp(Protocol):
    """Drops candidates or changes their logits: temperature, top_k, penalties, grammar masks.

    keeps_winner: true for a warp that never changes the most likely token (the lowest id
    among equals); in front of ``greedy`` such a warp is refused as pointless.
    """

    keeps_winner: bool

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """At least one of `candidates`, which are left as they were."""
        ...


class Choose(Protocol):
    """Picks the token: greedy, draw.

    One that takes random numbers says ``draws = True``, so that a strategy which ranks tokens
    itself can refuse it; so does such a warp, and an ablation asks it with each seed.
    """

    def __call__(self, candidates: Candidates, context: Context) -> int:
        """The id of one of `candidates`."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A step that wants to know the tokens: which end a reply, how a text is spelled."""

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Called once, before the first row. Raises InputError for settings that do not fit."""
        ...


@runtime_checkable
class Picks(Protocol):
    """A chooser that can do without candidates where no warp stands before it.

    `pick` gives what the choice among all tokens of the row would be, and NaN's place where there
    is one, which the chain then refuses.
    """

    def pick(self, row: Scores) -> int:
        """The id of one token of logits [V]."""
        ...


@runtime_checkable
class Accepts(Protocol):
    """A step that follows what is committed."""

    def accept(self, token: int, candidates: Candidates) -> None:
        """Called for every committed token, whoever chose it, with what the warps left."""
        ...


@runtime_checkable
class Forks(Protocol):
    """A step that copies itself; any other is copied with ``copy.deepcopy``."""

    def fork(self) -> Self:
        """An independent copy with the same state."""
        ...
