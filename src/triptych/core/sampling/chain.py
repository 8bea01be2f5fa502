"""The sampling chain of one generation: warps in the order written, then one chooser."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn, TypeVar, cast

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InputError, PluginError, TriptychError
from triptych.core.sampling.candidates import Candidates, Ids, Scores, as_scores
from triptych.core.sampling.context import Context
from triptych.core.sampling.logprobs import TokenLogprobs, logprobs_of
from triptych.core.sampling.steps import Accepts, Choose, Forks, Picks, Prepares, Warp
from triptych.core.sampling.vocabulary import Vocabulary

Step = Warp | Choose
Result = TypeVar("Result")


class LogitsError(TriptychError):
    """A stage gave logits that no token can be chosen from."""

    exit_code = 1


class Chain:
    """Turns rows of logits into tokens, and remembers which were committed.

    steps: zero or more warps, then the chooser. They belong to this chain from now on.
    seed: of the generation's own random generator, ``Generator(PCG64(seed))``; 0 or more.
    prompt_tokens: int64 [T], the committed tokens so far.
    source: the stage that gives the logits, for messages.
    names: one per step for messages, such as ``sampler.top_p``; by default their classes.
    vocabulary: of the tokens, for the steps that ask for it.
    top: keep in `logprobs` how likely each chosen token was, and so many of the likeliest ones.

    The chain keeps the committed tokens itself, because a sequence also holds drafted ones.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        seed: int,
        prompt_tokens: npt.ArrayLike = (),
        source: str = "decoder",
        names: Sequence[str] = (),
        vocabulary: Vocabulary | None = None,
        top: int | None = None,
    ) -> None:
        if not steps:
            raise InputError("The sampling chain is empty: end it with `greedy` or `draw`.")
        if seed < 0:
            raise InputError(f"The seed is {seed}; it must be 0 or more.")
        self._take(steps)
        self.names = tuple(names) or tuple(type(step).__name__ for step in steps)
        self.source = source
        self.needs: Mapping[str, npt.NDArray[Any]] = {}
        self._seed = seed
        self.top = top
        self.logprobs: list[TokenLogprobs] = []
        self._tokens = np.array(prompt_tokens, dtype=np.int64)
        self._length = self.prompt_length = self._tokens.size
        for index, step in enumerate(self.steps):
            if isinstance(step, Prepares):
                if vocabulary is None:
                    raise InputError(f"{self.names[index]} needs a vocabulary, and has none.")
                self._run(index, step.prepare, vocabulary)

    @cached_property
    def rng(self) -> np.random.Generator:
        """The generation's own. numpy reads its generators when one is first asked for."""
        return np.random.Generator(np.random.PCG64(self._seed))

    @property
    def tokens(self) -> Ids:
        """int64 [T]: the committed tokens, the prompt first. A read-only view."""
        view = self._tokens[: self._length]
        view.flags.writeable = False
        return view

    def warp(self, row: npt.NDArray[Any]) -> Candidates:
        """What the warps leave of logits [V], floating and never written: ids ascending.

        Tokens at -inf are dropped; where some are at +inf they alone are left, as equals.
        Raises LogitsError when the row holds NaN or nothing above -inf, and PluginError
        when a step breaks its contract.
        """
        return self._warp(row, self._context(row))

    def choose(self, row: npt.NDArray[Any]) -> int:
        """Warp logits [V], choose a token, commit it. Raises as `warp` does."""
        if self._pick is not None and self.top is None:
            token = self._picked(row, self._pick)
            if token is not None:
                self._commit(token)
                return token
        context = self._context(row)
        candidates = self._warp(row, context)
        chooser = cast("Choose", self.steps[-1])
        answer = self._run(-1, chooser, candidates, context)
        try:
            token = operator.index(answer)
        except TypeError:
            self._blame(-1, f"chose {answer!r}, which is not a token id")
        place = int(np.searchsorted(candidates.ids, token))
        if place == len(candidates) or candidates.ids[place] != token:
            self._blame(-1, f"chose token {token}, which is not among its candidates")
        self.accept(token, candidates, row)
        return token

    def accept(
        self, token: int, candidates: Candidates, row: npt.NDArray[Any] | None = None
    ) -> None:
        """Commit `token`; `candidates` is what the warps left when it was chosen.

        row: the logits that it was chosen from; without them `logprobs` do not say how likely it
        was. `choose` calls this; a strategy that picks the token itself does so too.
        """
        if self.top is not None and row is not None:
            self.logprobs.append(logprobs_of(token, row, candidates, self.top))
        self._commit(token)
        for index in self._accepting:
            step = cast("Accepts", self.steps[index])
            self._run(index, step.accept, token, candidates)

    def _commit(self, token: int) -> None:
        if self._length == self._tokens.size:
            grown = np.empty(2 * self._length + 64, dtype=np.int64)
            grown[: self._length] = self._tokens
            self._tokens = grown
        self._tokens[self._length] = token
        self._length += 1

    def fork(self, *, spawn: bool = False) -> Chain:
        """An independent copy with the same committed tokens and the same state.

        It draws the same numbers as this one, or, with `spawn`, its own; each spawned
        copy differs from the ones before it.
        """
        fork = copy.copy(self)
        fork._take(  # noqa: SLF001 - it is ours
            [step.fork() if isinstance(step, Forks) else copy.deepcopy(step) for step in self.steps]
        )
        fork.logprobs = list(self.logprobs)
        fork.rng = self.rng.spawn(1)[0] if spawn else copy.deepcopy(self.rng)
        fork._tokens = self._tokens[: self._length].copy()  # noqa: SLF001 - it is ours
        return fork

    def _take(self, steps: Sequence[Step]) -> None:
        """Let these be the steps, and see what they do besides."""
        self.steps = tuple(steps)
        self._accepting = [
            index for index, step in enumerate(self.steps) if isinstance(step, Accepts)
        ]
        self._needing = {
            index: tuple(needs)
            for index, step in enumerate(self.steps)
            if (needs := getattr(step, "needs", ()))
        }
        only: object = self.steps[0] if len(self.steps) == 1 and not self._accepting else None
        self._pick = only.pick if isinstance(only, Picks) else None

    def _picked(self, row: npt.NDArray[Any], pick: Callable[[Scores], int]) -> int | None:
        """The token that the chooser picks of the bare row; None where nothing can be chosen."""
        row = np.asarray(row)
        if row.ndim != 1 or row.dtype.kind != "f" or row.size == 0:
            return None
        token = self._run(-1, pick, as_scores(row))
        if not 0 <= token < row.size:
            self._blame(-1, f"chose token {token}, which is not among its candidates")
        # Not for NaN either.
        return token if row[token] > -np.inf else None

    def _context(self, row: npt.NDArray[Any]) -> Context:
        needs: Mapping[str, npt.NDArray[Any]] = getattr(row, "needs", self.needs)
        if self._needing:
            for index, names in self._needing.items():
                for name in names:
                    if name not in needs:
                        self._blame(
                            index, f"needs {name!r}, which the logits to choose from do not carry"
                        )
        return Context(self.tokens, self.prompt_length, self.rng, needs)

    def _warp(self, row: npt.NDArray[Any], context: Context) -> Candidates:
        candidates = self._of_row(row)
        for index, step in enumerate(self.steps[:-1]):
            warped = self._run(index, cast("Warp", step), candidates, context)
            if warped is not candidates:
                candidates = self._checked(index, candidates, warped)
        return candidates

    def _of_row(self, row: npt.NDArray[Any]) -> Candidates:
        row = np.asarray(row)
        if row.ndim != 1 or row.size == 0 or not np.issubdtype(row.dtype, np.floating):
            raise LogitsError(
                f"{self.source} gave logits of type {row.dtype} and shape {list(row.shape)}; "
                "a row of one float per token is needed."
            )
        candidates = _possible(Candidates.of_row(row))
        if candidates is None:
            broken = np.flatnonzero(np.isnan(row))
            what = "-inf for every token"
            if broken.size:
                what = f"NaN among its logits, first for token {broken[0]}"
            raise LogitsError(
                f"{self.source} gave {what}, after {self._length} tokens: nothing can be chosen. "
                "Its graph overflows or was fed wrong values; `triptych verify` finds the stage."
            )
        return candidates

    def _checked(self, index: int, given: Candidates, warped: Candidates) -> Candidates:
        """What the step at `index` made of `given`, in order; PluginError if it may not be."""
        if not isinstance(warped, Candidates):
            self._blame(index, f"returned {type(warped).__name__} instead of Candidates")
        if len(warped) == 0:
            self._blame(index, "left no candidate; a warp keeps at least one")
        if warped.ids is not given.ids:
            warped = self._ascending(index, given, warped)
        if warped.logits is given.logits:
            return warped
        possible = _possible(warped)
        if possible is None:
            if np.isnan(warped.logits).any():
                self._blame(index, "made a logit NaN")
            self._blame(index, "set every logit to -inf; a warp keeps at least one candidate")
        return possible

    def _ascending(self, index: int, given: Candidates, warped: Candidates) -> Candidates:
        ids = warped.ids
        if not (ids[1:] > ids[:-1]).all():
            order = np.argsort(ids)
            warped = Candidates(ids[order], warped.logits[order])
            ids = warped.ids
            twice = np.flatnonzero(ids[1:] == ids[:-1])
            if twice.size:
                self._blame(index, f"returned token {ids[twice[0]]} more than once")
        # The ends only: a search for every id would cost more than the chain.
        # `check_sampler` tests each of them.
        for token in (ids[0], ids[-1]):
            if not given.ids[0] <= token <= given.ids[-1]:
                self._blame(index, f"returned token {token}, which it was not given")
        return warped

    def _run(self, index: int, call: Callable[..., Result], *given: object) -> Result:
        try:
            return call(*given)
        except TriptychError:
            raise
        except Exception as error:  # noqa: BLE001 - it may be anybody's code
            self._blame(index, f"raised {type(error).__name__}: {error}", error)

    def _blame(self, index: int, what: str, cause: Exception | None = None) -> NoReturn:
        kind = type(self.steps[index])
        raise PluginError(
            f"{self.names[index]} ({kind.__module__}:{kind.__qualname__}) {what}."
        ) from cause


def _possible(candidates: Candidates) -> Candidates | None:
    """Those that can be chosen, with finite logits; None where NaN or -inf rule all out."""
    top = candidates.logits.max()
    if np.isnan(top) or top == -np.inf:
        return None
    if top == np.inf:
        certain = candidates.keep(candidates.logits == np.inf)
        return certain.with_logits(np.zeros(len(certain)))
    if candidates.logits.min() == -np.inf:
        return candidates.keep(candidates.logits > -np.inf)
    return candidates
