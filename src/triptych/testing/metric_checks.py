"""What every metric promises, as checks: ``check_metric(ExactMatch)``. Provisional."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from triptych.core.dataset import Item
from triptych.core.reply import Reply, Timings, Usage
from triptych.core.request import Request
from triptych.testing.check import Check, check
from triptych.testing.generators import global_generators
from triptych.testing.require import require
from triptych.testing.settings_checks import SETTINGS
from triptych.testing.subject import Subject

Example = tuple[Item, Reply]


def reply(text: str) -> Reply:
    """A finished reply that says `text`."""
    tokens = tuple(text.encode())
    usage = Usage(prompt_tokens=8, image_tokens=0, completion_tokens=len(tokens))
    return Reply(text, tokens, "eos", usage, Timings(0, 0, 0, 0), seed=0)


EXAMPLES: tuple[Example, ...] = tuple(
    (Item(f"item {number}", Request("How many?"), reference), reply(text))
    for number, (reference, text) in enumerate(
        [("3", "3"), ("3", "There are 4."), ("three", ""), ("3", "3 3 3"), ("é", "É\n")]
    )
)


def check_metric(kind: type, *, examples: Sequence[Example] = (), **settings: Any) -> None:
    """Check the metric class `kind` with these settings.

    examples: items and replies to try it on; without any, some whose references are texts.
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


def inputs_unchanged(subject: Subject) -> None:
    """An item and a reply are as they were."""
    metric = subject.make()
    for item, said in deepcopy(_examples(subject)):
        before = repr(item), repr(said)
        _score(subject, metric, item, said)
        require(
            (repr(item), repr(said)) == before,
            f"{subject.name} changed the item {item.id!r} or its reply.",
        )


def determinism_by_seed(subject: Subject) -> None:
    """The same reply has the same scores, whatever state other generators are in."""
    found = []
    for elsewhere in (1, 2):
        with global_generators(elsewhere):
            found.append([repr(scores) for _, scores in _scores(subject)])
    require(found[0] == found[1], f"{subject.name} gave different scores to the same replies.")


def row_isolation(subject: Subject) -> None:
    """A score does not depend on the items that were scored before."""
    with global_generators(0):
        first = {item.id: repr(scores) for item, scores in _scores(subject)}
    with global_generators(0):
        last = {item.id: repr(scores) for item, scores in _scores(subject, backwards=True)}
    require(
        first == last,
        f"{subject.name} gave a reply another score after other items; a metric keeps nothing.",
    )


def _scores(subject: Subject, *, backwards: bool = False) -> list[tuple[Item, Any]]:
    metric = subject.make()
    examples = deepcopy(_examples(subject))
    return [
        (item, _score(subject, metric, item, said))
        for item, said in (reversed(examples) if backwards else examples)
    ]


def _score(subject: Subject, metric: Any, item: Item, said: Reply) -> Any:
    try:
        return metric(item, said)
    except Exception as error:
        raise AssertionError(
            f"{subject.name} on {item.id!r} raised {type(error).__name__}: {error}"
        ) from error


def _examples(subject: Subject) -> list[Example]:
    return list(subject.examples or EXAMPLES)


CHECKS = (
    SETTINGS,
    Check("sound_scores", sound_scores),
    Check("never_empty", never_empty),
    Check("inputs_unchanged", inputs_unchanged),
    Check("determinism_by_seed", determinism_by_seed),
    Check("row_isolation", row_isolation),
)
"""What a metric promises."""
