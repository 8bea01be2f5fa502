"""What every sampling step promises, as checks: ``check_sampler(MinP, p=0.1)``."""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.sampling import Candidates, Context
from triptych.core.sampling.steps import Accepts, Forks, Prepares
from triptych.testing.check import Check, check, declares_neutral
from triptych.testing.generators import global_generators
from triptych.testing.require import require
from triptych.testing.settings_checks import SETTINGS
from triptych.testing.subject import Subject

PROMPT = (3, 1, 4, 1, 5)
COMMITTED = (*PROMPT, 9, 2, 6)
VOCABULARY = 150_000
"""More than any id of the rows."""


class Letters:
    """A vocabulary for steps that ask for one: a token is a letter's code point, 0 ends a reply."""

    eos_ids = frozenset({0})

    def encode(self, text: str) -> list[int]:
        """The code points."""
        return [ord(letter) for letter in text]

    def decode(self, tokens: Sequence[int]) -> str:
        """The letters."""
        return "".join(chr(token) for token in tokens if token)


LETTERS = Letters()

SIGNS = (1.0, -1.0)
"""What makes one course of logits into two."""


def check_sampler(kind: type, **settings: Any) -> None:
    """Check the step class `kind`, a warp or a chooser, with these settings.

    Returns None, or raises AssertionError with a sentence that says what it breaks. The promises
    are `CHECKS`, one by one.
    """
    check(Subject("sampler", kind, settings))


def sound_result(subject: Subject) -> None:
    """A warp returns some of the candidates, with numbers; a chooser, one of them."""
    for name, given in _rows():
        step = _made(subject)
        result = _call(step, given, name)
        who = f"{_name(step)} on {name}"
        if not isinstance(result, Candidates):
            _check_token(who, result, given)
            require(
                not hasattr(step, "keeps_winner"),
                f"{who} returned {result!r}, but `keeps_winner` makes it a warp: "
                "a warp returns Candidates.",
            )
            continue
        require(
            isinstance(getattr(step, "keeps_winner", None), bool),
            f"{_name(step)} is a warp and must say `keeps_winner = True` or `False`.",
        )
        foreign = np.setdiff1d(result.ids, given.ids)
        require(not foreign.size, f"{who} returned token {foreign[:1]}, which it was not given.")
        require(not np.isnan(result.logits).any(), f"{who} made a logit NaN.")


def never_empty(subject: Subject) -> None:
    """A warp leaves at least one candidate that can be chosen."""
    for name, given in _rows():
        step = _made(subject)
        result = _call(step, given, name)
        if isinstance(result, Candidates):
            who = f"{_name(step)} on {name}"
            require(len(result), f"{who} left no candidate; a warp keeps at least one.")
            require(np.any(result.logits != -np.inf), f"{who} set every logit to -inf.")


def unique_ids(subject: Subject) -> None:
    """A warp returns no token twice."""
    for name, given in _rows():
        step = _made(subject)
        result = _call(step, given, name)
        if isinstance(result, Candidates):
            require(
                np.unique(result.ids).size == len(result),
                f"{_name(step)} on {name} returned a token twice.",
            )


def inputs_unchanged(subject: Subject) -> None:
    """Neither candidates nor committed tokens are written to."""
    for name, given in _rows():
        step = _made(subject)
        ids, logits = given.ids.copy(), given.logits.copy()
        tokens = np.array(COMMITTED)
        context = Context(tokens, len(PROMPT), _generator(0), _needs(step))
        result = step(given, context)
        _accept(step, int(given.ids[0]), result if isinstance(result, Candidates) else given)
        who = f"{_name(step)} on {name} changed"
        require(np.array_equal(given.logits, logits), f"{who} the logits that it was given.")
        require(np.array_equal(given.ids, ids), f"{who} the ids that it was given.")
        require(np.array_equal(tokens, COMMITTED), f"{who} the committed tokens.")


def determinism_by_seed(subject: Subject) -> None:
    """One seed gives one result, whatever state other generators are in."""
    runs = [_Walk(_made(subject), elsewhere=elsewhere).go(12) for elsewhere in (1, 2)]
    require(
        _same(*runs),
        f"{subject.name} gave different results for one seed; "
        "randomness comes from `context.rng` only.",
    )


def keeps_winner(subject: Subject) -> None:
    """With ``keeps_winner`` the most likely token, lowest id first, is the same afterwards."""
    for name, given in _rows():
        step = _made(subject)
        if not getattr(step, "keeps_winner", False):
            return
        before, after = _winner(given), _winner(_call(step, given, name))
        require(
            before == after,
            f"{_name(step)} says keeps_winner, but on {name} the most likely token was "
            f"{before} and became {after}.",
        )


def state_in_accept(subject: Subject) -> None:
    """A call that is not followed by ``accept`` leaves no trace in the step."""
    for name, given in _rows():
        step = _made(subject)
        for _, earlier in _rows():
            _call(step, earlier, name)
        results = []
        for one in (step, _made(subject)):
            with global_generators(0):
                results.append(_call(one, given, name))
        require(
            _same(results[:1], results[1:]),
            f"{_name(step)} on {name} depends on rows seen before, though no token was "
            "committed; state changes in `accept` only.",
        )


def fork_continues(subject: Subject) -> None:
    """A fork goes on as the original would, and neither sees what the other does."""
    expected = _Walk(_made(subject)).go(12)
    walk = _Walk(_made(subject))
    walk.go(6)
    fork, stranger = walk.fork(), walk.fork()
    name = _name(walk.step)
    require(
        type(fork.step) is type(walk.step) and fork.step is not walk.step,
        f"{name}: `fork` must return a new {name}.",
    )
    stranger.go(6, contrary=True)
    require(_same(walk.go(6), expected[6:]), f"{name} changed when a fork of it went on.")
    require(
        _same(fork.go(6), expected[6:]),
        f"A fork of {name} went on differently from the original; it must carry its state.",
    )


def row_isolation(subject: Subject) -> None:
    """What one request is given does not depend on another that is decoded beside it."""
    alone = []
    for sign in SIGNS:
        walk = _Walk(_made(subject), sign=sign)
        alone.append(walk.go(8))
    walks = [_Walk(_made(subject), sign=sign) for sign in SIGNS]
    together: list[list[Any]] = [[] for _ in walks]
    for _ in range(8):
        for results, walk in zip(together, walks, strict=True):
            results.extend(walk.go(1))
    for mine, ours in zip(alone, together, strict=True):
        require(
            _same(mine, ours),
            f"{subject.name} gave a request something else while another was decoded beside it; "
            "state belongs to the object, not to its class or module.",
        )


def neutral_is_identity(subject: Subject) -> None:
    """With the settings that it calls neutral, a warp gives back what it is given."""
    for name, given in _rows():
        step = subject.make_neutral()
        _prepare(step)
        result = _call(step, given, name)
        require(
            isinstance(result, Candidates) and _same([result], [given]),
            f"{subject.name} calls {dict(subject.neutral or {})} neutral, and on {name} it "
            "changed the candidates.",
        )


def needs_declared(subject: Subject) -> None:
    """Of the ports beside the logits, a step reads those that `needs` names."""
    for name, given in _rows():
        step = _made(subject)
        given_needs = _needs(step)
        needs = _Needs(given_needs)
        context = Context(np.array(COMMITTED), len(PROMPT), _generator(0), needs)
        _called(step, given, context, name)
        stolen = sorted(needs.asked - given_needs.keys())
        require(
            not stolen,
            f"{_name(step)} asked for {', '.join(stolen)}, which it does not declare; say "
            f"`needs = ({stolen[0] if stolen else ''!r},)`.",
        )


class _Needs(dict[str, Any]):
    """What a step is given, and what it asked for."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().get(name, np.ones(8, np.float32))

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


class _Walk:
    """A step through a fixed course of rows, each result followed by ``accept``."""

    def __init__(self, step: Any, *, sign: float = 1, elsewhere: int = 0) -> None:
        self.step = step
        self.sign = sign
        self.elsewhere = elsewhere
        self.tokens = list(COMMITTED)

    def go(self, calls: int, *, contrary: bool = False) -> list[Any]:
        """The results of the next calls; `contrary` commits other tokens."""
        results = []
        rows = _rows()
        for _ in range(calls):
            at = len(self.tokens)
            name, given = rows[at % len(rows)]
            given = given.with_logits(self.sign * given.logits)
            with global_generators(at + self.elsewhere):
                result = _call(self.step, given, name, tokens=self.tokens, seed=at)
            left = result if isinstance(result, Candidates) else given
            token = _winner(left) if isinstance(result, Candidates) else _index(result)
            if contrary and len(left):
                token = int(left.ids[np.argmin(left.logits)])
            _accept(self.step, token, left)
            self.tokens.append(token)
            results.append(result)
        return results

    def fork(self) -> _Walk:
        step = self.step
        copied = step.fork() if isinstance(step, Forks) else copy.deepcopy(step)
        fork = _Walk(copied, sign=self.sign)
        fork.tokens = list(self.tokens)
        return fork


def _rows() -> list[tuple[str, Candidates]]:
    """Named candidates of many shapes, made anew and writeable."""
    rng = _generator(1)
    spread = np.sort(rng.choice(VOCABULARY, 40, replace=False))
    peaked = np.full(50, -10.0)
    peaked[31] = 30
    cases: list[tuple[str, npt.ArrayLike, npt.ArrayLike]] = [
        ("1,000 random logits", np.arange(1000), _float32(4 * rng.standard_normal(1000))),
        ("40 scattered ids", spread, 3 * rng.standard_normal(40)),
        ("one candidate", [7], _float32([-2.5])),
        ("two equal logits", [1, 4], _float32([1, 1])),
        ("64 equal logits", np.arange(64), np.full(64, -3.25)),
        ("one certain token", np.arange(50), _float32(peaked)),
        ("negative logits", np.arange(20), _float32(-rng.exponential(5, 20))),
        ("logits far apart", [0, 2, 3, 5, 9], [1e4, -1e4, 0, 9e3, 1]),
    ]
    return [(name, Candidates(np.array(ids), np.array(logits))) for name, ids, logits in cases]


def _call(
    step: Any,
    given: Candidates,
    name: str,
    *,
    tokens: list[int] | tuple[int, ...] = COMMITTED,
    seed: int = 0,
) -> Any:
    given = Candidates(given.ids.copy(), given.logits.copy())
    context = Context(np.array(tokens), len(PROMPT), _generator(seed), _needs(step))
    return _called(step, given, context, name)


def _needs(step: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Made-up values of what a step says that it needs."""
    names = tuple(getattr(step, "needs", ()))
    return {name: _generator(2).standard_normal(_shape(name), np.float32) for name in names}


def _shape(name: str) -> tuple[int, ...]:
    """A row of the vocabulary for logits, heads and tokens for attention, else a hidden size."""
    kind = name.partition(".")[0]
    return {"early_logits": (VOCABULARY,), "attention": (2, len(COMMITTED))}.get(kind, (8,))


def _called(step: Any, given: Candidates, context: Context, name: str) -> Any:
    try:
        return step(given, context)
    except Exception as error:
        raise AssertionError(
            f"{_name(step)} on {name} raised {type(error).__name__}: {error}"
        ) from error


def _accept(step: Any, token: int, candidates: Candidates) -> None:
    if isinstance(step, Accepts):
        step.accept(token, candidates)


def _check_token(who: str, result: Any, given: Candidates) -> None:
    try:
        token = operator.index(result)
    except TypeError as error:
        raise AssertionError(
            f"{who} returned {result!r}: a warp returns Candidates, a chooser a token id."
        ) from error
    require(token in given.ids, f"{who} chose token {token}, which it was not given.")


def _winner(candidates: Candidates) -> int:
    """The most likely token, the lowest id among equals; -1 of none."""
    finite = candidates.keep(~np.isnan(candidates.logits))
    if not len(finite):
        return -1
    return int(finite.ids[finite.logits == finite.logits.max()].min())


def _index(result: Any) -> int:
    """A token id; -1 for what is none."""
    try:
        return operator.index(result)
    except TypeError:
        return -1


def _same(one: list[Any], other: list[Any]) -> bool:
    return all(
        np.array_equal(a.ids, b.ids) and np.array_equal(a.logits, b.logits, equal_nan=True)
        if isinstance(a, Candidates) and isinstance(b, Candidates)
        else a == b
        for a, b in zip(one, other, strict=True)
    )


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _made(subject: Subject) -> Any:
    step = subject.make()
    _prepare(step)
    return step


def _prepare(step: Any) -> None:
    if isinstance(step, Prepares):
        step.prepare(LETTERS)


def _name(step: Any) -> str:
    return type(step).__name__


CHECKS = (
    SETTINGS,
    Check("sound_result", sound_result),
    Check("never_empty", never_empty),
    Check("unique_ids", unique_ids),
    Check("inputs_unchanged", inputs_unchanged),
    Check("determinism_by_seed", determinism_by_seed),
    Check("keeps_winner", keeps_winner),
    Check("state_in_accept", state_in_accept),
    Check("fork_continues", fork_continues),
    Check("row_isolation", row_isolation),
    Check("neutral_is_identity", neutral_is_identity, declares_neutral),
    Check("needs_declared", needs_declared),
)
"""What a sampling step promises."""
