"""Cache policies that break one promise each."""

import copy
from dataclasses import replace

import numpy as np
from pydantic import field_validator

from triptych import Settings
from triptych.plugins.caches.buffers import BufferCache, BufferSlot
from triptych.testing import Subject

SMALL = 24


class Whole:
    """A good policy to break: it keeps everything."""

    exact = True

    def make(self, pairs, max_length, allocate):
        return BufferCache(pairs, max_length, allocate)


class Grows(Whole):
    class Settings(Settings):
        amount: float

        @field_validator("amount")
        @classmethod
        def _twice(cls, value):
            return 2 * value

    def __init__(self, settings):
        pass


class NewViews(Whole):
    def make(self, pairs, max_length, allocate):
        class Cache(BufferCache):
            def bind(self, slots, token_index):
                binding = super().bind(slots, token_index)
                return replace(binding, pasts={n: past[:] for n, past in binding.pasts.items()})

        return Cache(pairs, max_length, allocate)


class Evicts(Whole):
    exact = False

    def evict(self, pasts, count):
        return dict.fromkeys(pasts, np.arange(count - 4, count))

    def make(self, pairs, max_length, allocate):
        return BufferCache(pairs, SMALL, allocate, evict=self.evict)


class KeepsTheOldest(Evicts):
    def evict(self, pasts, count):
        return dict.fromkeys(pasts, np.arange(4))


class KeepsTwice(Evicts):
    def evict(self, pasts, count):
        return dict.fromkeys(pasts, np.array([0, 0, count - 1]))


class CannotGoBack(Whole):
    def make(self, pairs, max_length, allocate):
        return _with_slots(pairs, max_length, allocate, truncate=lambda self, length: True)


class Counts(Evicts):
    """Keeps the tokens that most was paid to, and forgets nothing that it was shown."""

    needs = ("attention.0",)

    class Notes:
        def __init__(self):
            self.sums = np.zeros(96)

        def observe(self, seen, index, count):
            self.sums[:count] += seen["attention.0"].sum((0, 1))[:count]

        def evict(self, pasts, count):
            old = np.sort(np.argsort(-self.sums[: count - 2])[:8])
            rows = np.concatenate([old, [count - 2, count - 1]])
            self.sums = np.append(self.sums[rows], np.zeros(96 - len(rows)))
            return dict.fromkeys(pasts, rows)

        def truncate(self, length):
            return True

        def fork(self):
            return copy.deepcopy(self)

    def make(self, pairs, max_length, allocate):
        return BufferCache(pairs, 40, allocate, notes=self.Notes, limit=SMALL)


class SharesNotes(Evicts):
    """Keeps the tokens that are shown as a picture's, and a fork writes to the same notes."""

    needs = ("visual_index",)

    class Notes:
        def __init__(self, names):
            self.names, self.rows = names, []

        def observe(self, seen, index, count):
            self.rows += zip(index.tolist(), seen["visual_index"] >= 0, strict=True)

        def evict(self, pasts, count):
            order = np.argsort([not picture for _, picture in self.rows[:-1]], kind="stable")
            kept = np.sort(np.append(order[:9], len(self.rows) - 1))[-10:]
            self.rows = [self.rows[row] for row in kept]
            return dict.fromkeys(self.names, kept % count)

        def truncate(self, length):
            self.rows = [row for row in self.rows if row[0] < length]
            return True

        def fork(self):
            return self

    def make(self, pairs, max_length, allocate):
        names = [pair.past.name for pair in pairs]
        return BufferCache(pairs, SMALL, allocate, notes=lambda: self.Notes(names))


class AsksForMore(Evicts):
    def make(self, pairs, max_length, allocate):
        class Cache(BufferCache):
            def observe(self, slots, seen):
                assert seen[0]["attention.0"].any()

        return Cache(pairs, SMALL, allocate, evict=self.evict)

    needs = ("hidden.0",)


class ForksToItself(Whole):
    def make(self, pairs, max_length, allocate):
        def fork(self):
            other = copy.copy(self)
            other.index = list(self.index)
            return other

        return _with_slots(pairs, max_length, allocate, fork=fork)


class LeavesTraces(Whole):
    def make(self, pairs, max_length, allocate):
        class Cache(BufferCache):
            closed = ()

            def lease(self):
                slot = super().lease()
                slot.index = list(self.closed)
                return slot

            def release(self, slot):
                self.closed = slot.index
                super().release(slot)

        return Cache(pairs, max_length, allocate)


class SharesRoom(Evicts):
    def make(self, pairs, max_length, allocate):
        def evict(pasts, count):
            return dict.fromkeys(pasts, np.arange(count - 8 // len(cache.leased), count))

        cache = BufferCache(pairs, SMALL, allocate, evict=evict)
        return cache


class SaysExact(Evicts):
    exact = True


class NotQuite(Evicts):
    neutral = {}  # noqa: RUF012 - as a plugin writes it


def _with_slots(pairs, max_length, allocate, **methods):
    """A cache whose slots have other methods."""
    kind = type("Slot", (BufferSlot,), methods)

    class Cache(BufferCache):
        def lease(self):
            slot = super().lease()
            slot.__class__ = kind
            return slot

    return Cache(pairs, max_length, allocate)


BROKEN = [
    ("settings_round_trip", Subject("cache", Grows, {"amount": 1.0})),
    ("sound_binding", Subject("cache", NewViews)),
    ("never_empty", Subject("cache", KeepsTheOldest)),
    ("unique_ids", Subject("cache", KeepsTwice)),
    ("truncates", Subject("cache", CannotGoBack)),
    ("takes_back", Subject("cache", Counts)),
    ("needs_declared", Subject("cache", AsksForMore)),
    ("forks_apart", Subject("cache", ForksToItself)),
    ("forks_apart", Subject("cache", SharesNotes)),
    ("closes_cleanly", Subject("cache", LeavesTraces)),
    ("row_isolation", Subject("cache", SharesRoom)),
    ("exact_is_true", Subject("cache", SaysExact)),
    ("neutral_is_identity", Subject("cache", NotQuite)),
]
