"""Strategies that break one promise each."""

import random

from pydantic import field_validator

from triptych import Settings, Span
from triptych.testing import Subject


class Plain:
    """A good strategy to break."""

    def run(self, generation):
        while True:
            [rows] = yield [Span(generation.sequence)]
            token = generation.chain.choose(rows[-1])
            generation.sequence.append([token])
            if generation.emit(token):
                return


class Grows(Plain):
    class Settings(Settings):
        amount: float

        @field_validator("amount")
        @classmethod
        def _twice(cls, value):
            return 2 * value

    def __init__(self, settings):
        pass


class GivesUp(Plain):
    def run(self, generation):
        for _ in range(3):
            [rows] = yield [Span(generation.sequence)]
            token = generation.chain.choose(rows[-1])
            generation.sequence.append([token])
            if generation.emit(token):
                return


class AsksForMore(Plain):
    def run(self, generation):
        while True:
            [rows] = yield [Span(generation.sequence, rows=2)]
            token = generation.chain.choose(rows[-1])
            generation.sequence.append([token])
            if generation.emit(token):
                return


class CommitsBeforeItKnows(Plain):
    """It chooses twice where it emits once."""

    def run(self, generation):
        while True:
            [rows] = yield [Span(generation.sequence)]
            token = generation.chain.choose(rows[-1])
            generation.chain.accept(token, None)
            generation.sequence.append([token])
            if generation.emit(token):
                return


class DraftsBlindly(Plain):
    """It drafts two tokens whether there is room or not."""

    def run(self, generation):
        sequence = generation.sequence
        while True:
            length = len(sequence)
            sequence.append([0, 0])
            [rows] = yield [Span(sequence, rows=3)]
            sequence.truncate(length)
            token = generation.chain.choose(rows[0])
            sequence.append([token])
            if generation.emit(token):
                return


class Overwrites(Plain):
    def run(self, generation):
        while True:
            [rows] = yield [Span(generation.sequence)]
            token = generation.chain.choose(rows[-1])
            rows -= 1
            generation.sequence.append([token])
            if generation.emit(token):
                return


class OwnRandomness(Plain):
    def run(self, generation):
        while True:
            [rows] = yield [Span(generation.sequence)]
            token = generation.chain.choose(rows[-1] if random.random() < 0.5 else -rows[-1])
            generation.sequence.append([token])
            if generation.emit(token):
                return


class OneForAll(Plain):
    """It counts on itself what belongs to each request."""

    def run(self, generation):
        self.count = 0
        while True:
            [rows] = yield [Span(generation.sequence)]
            self.count += 1
            token = generation.chain.choose(rows[-1] if self.count % 2 else -rows[-1])
            generation.sequence.append([token])
            if generation.emit(token):
                return


class NotQuite(Plain):
    neutral = {}  # noqa: RUF012 - as a plugin writes it

    def run(self, generation):
        while True:
            [rows] = yield [Span(generation.sequence)]
            token = generation.chain.choose(rows[-1] / 2)
            generation.sequence.append([token])
            if generation.emit(token):
                return


BROKEN = [
    ("settings_round_trip", Subject("strategy", Grows, {"amount": 1.0})),
    ("never_empty", Subject("strategy", GivesUp)),
    ("sound_spans", Subject("strategy", AsksForMore)),
    ("commits_what_it_emits", Subject("strategy", CommitsBeforeItKnows)),
    ("stays_in_room", Subject("strategy", DraftsBlindly)),
    ("inputs_unchanged", Subject("strategy", Overwrites)),
    ("determinism_by_seed", Subject("strategy", OwnRandomness)),
    ("row_isolation", Subject("strategy", OneForAll)),
    ("neutral_is_identity", Subject("strategy", NotQuite)),
]
