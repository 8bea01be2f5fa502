"""What every metric promises, as checks: ``check_metric(ExactMatch)``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any, get_args

from triptych.core.dataset import Item
from triptych.core.metric import Answer, Base, Measures
from triptych.core.reply import Reply, Timings, Usage
from triptych.core.request import Request
from triptych.testing.check import Check, check
from triptych.testing.generators import global_generators
from triptych.testing.require import require
from triptych.testing.settings_checks import SETTINGS
from triptych.testing.subject import Subject

Example = tuple[Item, Answer]

SECONDS = Timings(load=1.0, vision=0.0, prefill=0.01, decode=0.02)


@cache
def _sketch() -> Any:
    from triptych.core.pipeline import load

    return load()


class Sketch:
    """The built-in pipeline, loaded when somebody asks something of it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_sketch(), name)

    def __repr__(self) -> str:
        return "Sketch()"

    def __deepcopy__(self, memo: object) -> Sketch:
        return self


SKETCH: Any = Sketch()


def reply(text: str) -> Reply:
    """A finished reply that says `text`; its tokens are the bytes, and it took 30 ms."""
    tokens = tuple(text.encode())
    usage = Usage(prompt_tokens=8, image_tokens=0, completion_tokens=len(tokens))
    return Reply(text, tokens, "eos", usage, SECONDS, seed=0)


def answer(text: str) -> Answer:
    """An answer that says `text`, of the built-in pipeline, which is its own base."""
    said = reply(text)
    return Answer(said, SKETCH, Base(SKETCH, said.tokens))


EXAMPLES: tuple[Example, ...] = tuple(
    (Item(f"item {number}", Request("How many?"), reference), answer(text))
    for number, (reference, text) in enumerate(
        [("3", "3"), ("3", "There are 4."), ("three", ""), ("3", "3 3 3"), ("é", "É\n")]
    )
)


def check_metric(kind: type, *, examples: Sequence[Example] = (), **settings: Any) -> None:
    """Check the metric class `kind` with these settings.

    examples: items and answers to try it on; without any, some whose references are texts.
    Returns None, or raises AssertionError with a sentence that says what it breaks. The promises
    are `CHECKS`, one by one.
    """
    check(Subject("metric", kind, settings, examples))


def sound_scores(subject: Subject) -> None:
    """A metric gives finite numbers by name, the same names for every item."""
    names = None
    for item, scores in _scores(subject):
        who = f"{subject.name} on {item.id!r}"
        require(isinstance(scores, Mapping), f"{who} gave {scores!r}, no mapping of scores.")
        for name, score in scores.items():
            number = isinstance(score, float | int) and math.isfinite(score)
            require(number, f"{who} gave {name} = {score!r}, which is no finite number.")
        names = scores.keys() if names is None else names
        require(
            scores.keys() == names,
            f"{who} gave {', '.join(scores)}, and {', '.join(names)} before.",
        )


def never_empty(subject: Subject) -> None:
    """A metric gives at least one score."""
    for item, scores in _scores(subject):
        require(scores, f"{subject.name} on {item.id!r} gave no score.")


def declared_measures(subject: Subject) -> None:
    """`measures` is one of ``"quality"``, ``"time"`` and ``"memory"``, where it is said."""
    said = getattr(subject.make(), "measures", "quality")
    known = get_args(Measures)
    require(said in known, f"{subject.name}.measures is {said!r}; it is one of {known}.")


def declared_direction(subject: Subject) -> None:
    """`lower_is_better` names scores that the metric gives."""
    said = getattr(subject.make(), "lower_is_better", ())
    require(
        not isinstance(said, str | bool),
        f"{subject.name}.lower_is_better is {said!r}; it is a tuple of the names of scores.",
    )
    for item, scores in _scores(subject):
        unknown = [name for name in said if isinstance(scores, Mapping) and name not in scores]
        require(
            not unknown,
            f"{subject.name}.lower_is_better names {unknown}, which it did not give on "
            f"{item.id!r}.",
        )


def base_may_be_missing(subject: Subject) -> None:
    """Without a base, as for the base arm itself, the scores have the same names."""
    given = [list(scores) for _, scores in _scores(subject)]
    alone = [list(scores) for _, scores in _scores(subject, based=False)]
    require(
        given == alone,
        f"{subject.name} gave {alone[:1]} without a base and {given[:1]} with one; the base is "
        "None for the base arm itself.",
    )


def base_declared(subject: Subject) -> None:
    """A metric that does not declare `needs_base` does not look at one."""
    given, alone = (_shown(subject, based=based) for based in (True, False))
    require(
        given == alone,
        f"{subject.name} gave other scores where there was a base; declare needs_base = True.",
    )


def inputs_unchanged(subject: Subject) -> None:
    """An item and an answer are as they were."""
    metric = subject.make()
    for item, said in deepcopy(_examples(subject)):
        before = repr(item), repr(said)
        _score(subject, metric, item, said)
        require(
            (repr(item), repr(said)) == before,
            f"{subject.name} changed the item {item.id!r} or its answer.",
        )


def determinism_by_seed(subject: Subject) -> None:
    """The same answer has the same scores, whatever state other generators are in."""
    found = [_shown(subject, elsewhere=elsewhere) for elsewhere in (1, 2)]
    require(found[0] == found[1], f"{subject.name} gave different scores to the same answers.")


def row_isolation(subject: Subject) -> None:
    """A score does not depend on the items that were scored before."""
    first, last = (_shown(subject, backwards=backwards) for backwards in (False, True))
    require(
        first == last,
        f"{subject.name} gave an answer another score after other items; a metric keeps nothing.",
    )


def _shown(subject: Subject, *, elsewhere: int = 0, **which: Any) -> dict[str, str]:
    """The scores of all examples as text, while other generators are in the state of a seed."""
    with global_generators(elsewhere):
        return {item.id: repr(scores) for item, scores in _scores(subject, **which)}


def _scores(
    subject: Subject, *, backwards: bool = False, based: bool | None = None
) -> list[tuple[Item, Any]]:
    """Of all examples; `based`: whether answers have a base (None: if the metric needs one)."""
    metric = subject.make()
    examples = deepcopy(_examples(subject, based=based))
    return [
        (item, _score(subject, metric, item, said))
        for item, said in (reversed(examples) if backwards else examples)
    ]


def _score(subject: Subject, metric: Any, item: Item, said: Answer) -> Any:
    try:
        return metric(item, said)
    except Exception as error:
        based = "" if said.base or not _needs_base(subject) else " without a base"
        raise AssertionError(
            f"{subject.name} on {item.id!r}{based} raised {type(error).__name__}: {error}"
        ) from error


def _examples(subject: Subject, *, based: bool | None = None) -> list[Example]:
    based = _needs_base(subject) if based is None else based
    return [
        (item, said if based else replace(said, base=None))
        for item, said in subject.examples or EXAMPLES
    ]


def _needs_base(subject: Subject) -> bool:
    return bool(getattr(subject.target, "needs_base", False))


def _steady(subject: Subject) -> bool:
    """Times and memory are never twice the same."""
    return getattr(subject.target, "measures", "quality") not in {"time", "memory"}


def _needs_none(subject: Subject) -> bool:
    return _steady(subject) and not _needs_base(subject)


CHECKS = (
    SETTINGS,
    Check("sound_scores", sound_scores),
    Check("never_empty", never_empty),
    Check("declared_measures", declared_measures),
    Check("declared_direction", declared_direction),
    Check("base_may_be_missing", base_may_be_missing, _needs_base),
    Check("base_declared", base_declared, _needs_none),
    Check("inputs_unchanged", inputs_unchanged),
    Check("determinism_by_seed", determinism_by_seed, _steady),
    Check("row_isolation", row_isolation, _steady),
)
"""What a metric promises."""
