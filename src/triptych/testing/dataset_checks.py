"""What every dataset promises, as checks: ``check_dataset(Scenes, count=100)``."""

from __future__ import annotations

import json
import pickle
from itertools import islice
from typing import Any

from triptych.core.dataset import Item
from triptych.core.request import Request
from triptych.testing.check import Check, check
from triptych.testing.generators import global_generators
from triptych.testing.require import require
from triptych.testing.settings_checks import SETTINGS
from triptych.testing.subject import Subject

MOST_ITEMS = 200
"""How many items are looked at."""


def check_dataset(kind: type, **settings: Any) -> None:
    """Check the dataset class `kind` with these settings; of a long one, its first items.

    Returns None, or raises AssertionError with a sentence that says what it breaks. The promises
    are `CHECKS`, one by one.
    """
    check(Subject("dataset", kind, settings))


def sound_items(subject: Subject) -> None:
    """Each item is an `Item` whose reference has a form in JSON."""
    for item in _items(subject):
        require(
            isinstance(item, Item),
            f"{subject.name} gave {type(item).__name__}, not triptych.Item.",
        )
        require(
            isinstance(item.id, str) and item.id,
            f"{subject.name} has an item whose id {item.id!r} is no text.",
        )
        require(
            isinstance(item.request, Request),
            f"{subject.name}: the request of {item.id!r} is no triptych.Request.",
        )
        for name in ("cluster", "task"):
            value = getattr(item, name)
            require(
                value is None or isinstance(value, str),
                f"{subject.name}: the {name} of {item.id!r} is {value!r}, no text.",
            )
        try:
            json.dumps(item.reference)
        except (TypeError, ValueError) as error:
            raise AssertionError(
                f"{subject.name}: the reference of {item.id!r} has no form in JSON: {error}"
            ) from error


def never_empty(subject: Subject) -> None:
    """There is an item."""
    require(_items(subject), f"{subject.name} has no item.")


def unique_ids(subject: Subject) -> None:
    """No two items have one id."""
    ids = [getattr(item, "id", None) for item in _items(subject)]
    twice = sorted({str(name) for name in ids if ids.count(name) > 1})
    require(not twice, f"{subject.name} has {twice[:1]} more than once.")


def determinism_by_seed(subject: Subject) -> None:
    """The same items in the same order, each time and whatever other generators do."""
    found = []
    for elsewhere in (1, 2):
        with global_generators(elsewhere):
            dataset = subject.make()
            found += [_shown(list(islice(dataset, MOST_ITEMS))) for _ in range(2)]
    require(
        all(shown == found[0] for shown in found),
        f"{subject.name} gave other items the second time; `__iter__` begins from the first one, "
        "and what is random comes from a setting such as `seed`.",
    )


def independent_passes(subject: Subject) -> None:
    """Two passes at once give the same items."""
    with global_generators(0):
        dataset = subject.make()
        pairs = list(islice(zip(dataset, dataset, strict=False), MOST_ITEMS))
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    require(
        _shown(one) == _shown(other),
        f"{subject.name} gave other items to the second of two passes at once; what a pass has "
        "reached belongs in `__iter__`, not in the dataset.",
    )


def items_travel(subject: Subject) -> None:
    """Items can be pickled, so that another process may answer them."""
    for item in _items(subject):
        try:
            back = pickle.loads(pickle.dumps(item))  # noqa: S301 - its own bytes
        except Exception as error:
            raise AssertionError(
                f"{subject.name}: {getattr(item, 'id', item)!r} cannot be pickled: {error}"
            ) from error
        require(
            _shown([back]) == _shown([item]),
            f"{subject.name}: {getattr(item, 'id', item)!r} is another item after pickling.",
        )


def _items(subject: Subject) -> list[Any]:
    with global_generators(0):
        return list(islice(subject.make(), MOST_ITEMS))


def _shown(items: list[Any]) -> list[tuple[Any, ...]]:
    return [
        (item.id, item.request.text, repr(item.reference), item.cluster, item.task)
        if isinstance(item, Item)
        else (repr(item),)
        for item in items
    ]


CHECKS = (
    SETTINGS,
    Check("sound_items", sound_items),
    Check("never_empty", never_empty),
    Check("unique_ids", unique_ids),
    Check("determinism_by_seed", determinism_by_seed),
    Check("independent_passes", independent_passes),
    Check("items_travel", items_travel),
)
"""What a dataset promises."""
