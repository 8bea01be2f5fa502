"""Datasets and metrics that break one promise each."""

import random
from dataclasses import replace

from pydantic import field_validator

from triptych import Item, Request, Settings
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


class Chance(Sums):
    """What is random comes from nowhere that a setting says."""

    def __init__(self):
        self.number = random.random()

    def __iter__(self):
        yield Item("0", Request(f"What is {self.number} + 1?"), self.number + 1)


class Shares(Sums):
    """One pass goes on where another one is."""

    def __init__(self):
        self.at = 0

    def __iter__(self):
        self.at = 0
        while self.at < 4:
            self.at += 1
            yield Item(f"{self.at}", Request("?"), "!")


class Stays(Sums):
    """Its requests have what no other process can be given."""

    def __iter__(self):
        for item in super().__iter__():
            yield replace(item, request=Request("?", images=[lambda: None]))


class Match:
    """A good metric to break."""

    def __call__(self, item, answer):
        return {"match": float(str(item.reference) == answer.reply.text)}


class GrowsToo(Match):
    Settings = Grown

    def __init__(self, settings):
        pass


class Lengths(Match):
    def __call__(self, item, answer):
        return {"length": answer.reply.text}


class Nothing(Match):
    def __call__(self, item, answer):
        return {}


class Writes(Match):
    def __call__(self, item, answer):
        object.__setattr__(item, "cluster", "seen")
        return super().__call__(item, answer)


class Guesses(Match):
    def __call__(self, item, answer):
        return {"match": random.random()} if answer.reply.text == "3" else {"match": 0.0}


class Counts(Match):
    def __init__(self):
        self.count = 0

    def __call__(self, item, answer):
        self.count += 1
        return {"match": float(self.count)}


class Fast(Match):
    measures = "speed"


class Backwards(Match):
    lower_is_better = ("mismatch",)


class Leans(Match):
    """Its base arm has other scores."""

    needs_base = True

    def __call__(self, item, answer):
        if answer.base is None:
            return {"itself": 1.0}
        return super().__call__(item, answer)


class Peeks(Match):
    def __call__(self, item, answer):
        return {"match": float(answer.base is not None)}


BROKEN = [
    ("settings_round_trip", Subject("dataset", Grows, {"amount": 1.0})),
    ("sound_items", Subject("dataset", Sets)),
    ("never_empty", Subject("dataset", Empty)),
    ("unique_ids", Subject("dataset", Repeats)),
    ("determinism_by_seed", Subject("dataset", Chance)),
    ("independent_passes", Subject("dataset", Shares)),
    ("items_travel", Subject("dataset", Stays)),
    ("settings_round_trip", Subject("metric", GrowsToo, {"amount": 1.0})),
    ("sound_scores", Subject("metric", Lengths)),
    ("never_empty", Subject("metric", Nothing)),
    ("declared_measures", Subject("metric", Fast)),
    ("declared_direction", Subject("metric", Backwards)),
    ("base_may_be_missing", Subject("metric", Leans)),
    ("base_declared", Subject("metric", Peeks)),
    ("inputs_unchanged", Subject("metric", Writes)),
    ("determinism_by_seed", Subject("metric", Guesses)),
    ("row_isolation", Subject("metric", Counts)),
]
