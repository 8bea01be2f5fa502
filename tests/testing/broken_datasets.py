"""Datasets and metrics that break one promise each."""

import random

from pydantic import field_validator

from triptych import Request, Settings
from triptych.core.dataset import Item
from triptych.testing import Subject


class Grown(Settings):
    amount: float

    @field_validator("amount")
    @classmethod
    def _twice(cls, value):
        return 2 * value


class Sums:
    """A good dataset to break."""

    def __iter__(self):
        for number in range(4):
            yield Item(f"{number}", Request(f"What is {number} + 1?"), str(number + 1))


class Grows(Sums):
    Settings = Grown

    def __init__(self, settings):
        pass


class Sets(Sums):
    def __iter__(self):
        yield Item("0", Request("What is even?"), {0, 2})


class Empty(Sums):
    def __iter__(self):
        return iter(())


class Repeats(Sums):
    def __iter__(self):
        for _ in range(2):
            yield from super().__iter__()


class Runs(Sums):
    """Its items are there once."""

    def __init__(self):
        self.items = iter(list(super().__iter__()))

    def __iter__(self):
        return self.items


class Match:
    """A good metric to break."""

    def __call__(self, item, reply):
        return {"match": float(str(item.reference) == reply.text)}


class GrowsToo(Match):
    Settings = Grown

    def __init__(self, settings):
        pass


class Lengths(Match):
    def __call__(self, item, reply):
        return {"length": reply.text}


class Nothing(Match):
    def __call__(self, item, reply):
        return {}


class Writes(Match):
    def __call__(self, item, reply):
        object.__setattr__(item, "cluster", "seen")
        return super().__call__(item, reply)


class Guesses(Match):
    def __call__(self, item, reply):
        return {"match": random.random()} if reply.text == "3" else {"match": 0.0}


class Counts(Match):
    def __init__(self):
        self.count = 0

    def __call__(self, item, reply):
        self.count += 1
        return {"match": float(self.count)}


BROKEN = [
    ("settings_round_trip", Subject("dataset", Grows, {"amount": 1.0})),
    ("sound_items", Subject("dataset", Sets)),
    ("never_empty", Subject("dataset", Empty)),
    ("unique_ids", Subject("dataset", Repeats)),
    ("determinism_by_seed", Subject("dataset", Runs)),
    ("settings_round_trip", Subject("metric", GrowsToo, {"amount": 1.0})),
    ("sound_scores", Subject("metric", Lengths)),
    ("never_empty", Subject("metric", Nothing)),
    ("inputs_unchanged", Subject("metric", Writes)),
    ("determinism_by_seed", Subject("metric", Guesses)),
    ("row_isolation", Subject("metric", Counts)),
]
