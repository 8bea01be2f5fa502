"""What every sampling step promises, as checks: ``check_sampler(MinP, p=0.1)``."""

from __future__ import annotations

import copy
import operator
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from triptych.core.sampling import Candidates, Context
from triptych.core.sampling.steps import Accepts, Forks, Prepares
from triptych.core.settings import Settings
from triptych.testing.require import require

Make = Callable[[], Any]
"""Builds the step anew."""

PROMPT = (3, 1, 4, 1, 5)
COMMITTED = (*PROMPT, 9, 2, 6)


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


def check_sampler(kind: type, **settings: Any) -> None:
    """Check the step class `kind`, a warp or a chooser, with these settings.

    Returns None, or raises AssertionError with a sentence that says what it breaks: its
    settings survive JSON; one seed gives one result; it leaves what it is given as it was;
    a warp returns at least one of the candidates, none twice, no NaN; a chooser, one of
    them; ``keeps_winner`` is true to its word; state changes in ``accept`` only; and a fork
    goes on as the original would, independently.
    """
    step_settings = _checked_settings(kind, settings)

    def make() -> Any:
        step = kind() if step_settings is None else kind(step_settings)
        if isinstance(step, Prepares):
            step.prepare(LETTERS)
        return step

    check_result(make)
    check_leaves_inputs(make)
    check_seed(make)
    check_winner(make)
    check_state(make)
    check_fork(make)


def check_result(make: Make) -> None:
    """A warp returns some of the candidates; a chooser, one."""
    for name, given in _rows():
        step = make()
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
        require(len(result), f"{who} left no candidate; a warp keeps at least one.")
        require(np.unique(result.ids).size == len(result), f"{who} returned a token twice.")
        foreign = np.setdiff1d(result.ids, given.ids)
        require(not foreign.size, f"{who} returned token {foreign[:1]}, which it was not given.")
        require(not np.isnan(result.logits).any(), f"{who} made a logit NaN.")
        require(result.logits.max() > -np.inf, f"{who} set every logit to -inf.")


def check_leaves_inputs(make: Make) -> None:
    """Neither candidates nor committed tokens are written to."""
    for name, given in _rows():
        step = make()
        ids, logits = given.ids.copy(), given.logits.copy()
        tokens = np.array(COMMITTED)
        context = Context(tokens, len(PROMPT), _generator(0))
        result = step(given, context)
        _accept(step, int(given.ids[0]), result if isinstance(result, Candidates) else given)
        who = f"{_name(step)} on {name} changed"
        require(np.array_equal(given.logits, logits), f"{who} the logits that it was given.")
        require(np.array_equal(given.ids, ids), f"{who} the ids that it was given.")
        require(np.array_equal(tokens, COMMITTED), f"{who} the committed tokens.")


def check_seed(make: Make) -> None:
    """One seed gives one result, whatever state other generators are in."""
    with _global_generators_restored():
        runs = []
        for elsewhere in (1, 2):
            random.seed(elsewhere)
            np.random.seed(elsewhere)  # noqa: NPY002 - the global generator is what is tested
            runs.append(_Walk(make()).go(12))
    require(
        _same(*runs),
        f"{_name(make())} gave different results for one seed; "
        "randomness comes from `context.rng` only.",
    )


def check_winner(make: Make) -> None:
    """With ``keeps_winner`` the most likely token, lowest id first, is the same afterwards."""
    for name, given in _rows():
        step = make()
        if not getattr(step, "keeps_winner", False):
            return
        before, after = _winner(given), _winner(_call(step, given, name))
        require(
            before == after,
            f"{_name(step)} says keeps_winner, but on {name} the most likely token was "
            f"{before} and became {after}.",
        )


def check_state(make: Make) -> None:
    """A call that is not followed by ``accept`` leaves no trace in the step."""
    for name, given in _rows():
        step = make()
        for _, earlier in _rows():
            _call(step, earlier, name)
        require(
            _same([_call(step, given, name)], [_call(make(), given, name)]),
            f"{_name(step)} on {name} depends on rows seen before, though no token was "
            "committed; state changes in `accept` only.",
        )


def check_fork(make: Make) -> None:
    """A fork goes on as the original would, and neither sees what the other does."""
    expected = _Walk(make()).go(12)
    walk = _Walk(make())
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


class _Walk:
    """A step through a fixed course of rows, each result followed by ``accept``."""

    def __init__(self, step: Any) -> None:
        self.step = step
        self.tokens = list(COMMITTED)

    def go(self, calls: int, *, contrary: bool = False) -> list[Any]:
        """The results of the next calls; `contrary` commits other tokens."""
        results = []
        rows = _rows()
        for _ in range(calls):
            at = len(self.tokens)
            name, given = rows[at % len(rows)]
            result = _call(self.step, given, name, tokens=self.tokens, seed=at)
            left = result if isinstance(result, Candidates) else given
            token = _winner(left) if isinstance(result, Candidates) else operator.index(result)
            if contrary:
                token = int(left.ids[np.argmin(left.logits)])
            _accept(self.step, token, left)
            self.tokens.append(token)
            results.append(result)
        return results

    def fork(self) -> _Walk:
        step = self.step
        fork = _Walk(step.fork() if isinstance(step, Forks) else copy.deepcopy(step))
        fork.tokens = list(self.tokens)
        return fork


def _checked_settings(kind: type, values: dict[str, Any]) -> Settings | None:
    """The step's settings, which must survive JSON and have a schema."""
    model = getattr(kind, "Settings", None)
    if model is None:
        require(not values, f"{kind.__name__} has no Settings, so it takes none of {values}.")
        return None
    require(
        isinstance(model, type) and issubclass(model, Settings),
        f"{kind.__name__}.Settings must be a subclass of triptych.Settings.",
    )
    settings: Settings = model(**values)
    text = settings.model_dump_json()
    try:
        back = model.model_validate_json(text)
    except ValueError as error:
        raise AssertionError(
            f"{kind.__name__}.Settings cannot be read back from its JSON {text}: {error}"
        ) from error
    require(back == settings, f"{kind.__name__}.Settings became {back!r} through JSON.")
    try:
        model.model_json_schema()
    except Exception as error:
        raise AssertionError(f"{kind.__name__}.Settings has no JSON Schema: {error}") from error
    return settings


def _rows() -> list[tuple[str, Candidates]]:
    """Named candidates of many shapes, made anew and writeable."""
    rng = _generator(1)
    spread = np.sort(rng.choice(150_000, 40, replace=False))
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
    try:
        return step(given, Context(np.array(tokens), len(PROMPT), _generator(seed)))
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
    return int(candidates.ids[candidates.logits == candidates.logits.max()].min())


def _same(one: list[Any], other: list[Any]) -> bool:
    return all(
        np.array_equal(a.ids, b.ids) and np.array_equal(a.logits, b.logits)
        if isinstance(a, Candidates)
        else a == b
        for a, b in zip(one, other, strict=True)
    )


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _name(step: Any) -> str:
    return type(step).__name__


@contextmanager
def _global_generators_restored() -> Iterator[None]:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - see check_seed
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
