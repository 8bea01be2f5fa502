"""Sampling steps that break one promise each."""

import copy

import numpy as np
from pydantic import field_serializer

from triptych import Candidates, Settings
from triptych.testing import Subject


class Warp:
    """A good warp to break: after its token was committed twice, it costs a nat."""

    keeps_winner = False

    def __init__(self):
        self.counts = {}

    def __call__(self, candidates, context):
        cost = [self.counts.get(int(i), 0) // 2 for i in candidates.ids]
        return candidates.with_logits(candidates.logits - np.array(cost, np.float64))

    def accept(self, token, candidates):
        self.counts[token] = self.counts.get(token, 0) + 1


class Rounds(Warp):
    class Settings(Settings):
        share: float

        @field_serializer("share")
        def _short(self, value):
            return round(value, 1)

    def __init__(self, settings):
        super().__init__()


class Invents(Warp):
    def __call__(self, candidates, context):
        return Candidates(candidates.ids + 1, candidates.logits)


class Empties(Warp):
    def __call__(self, candidates, context):
        return candidates.keep(candidates.logits > 0)


class Repeats(Warp):
    def __call__(self, candidates, context):
        twice = np.r_[candidates.ids, candidates.ids[:1]]
        return Candidates(twice, np.r_[candidates.logits, candidates.logits[:1]])


class WritesLogits(Warp):
    def __call__(self, candidates, context):
        candidates.logits[:] -= 1
        return candidates


class OwnRandomness(Warp):
    def __call__(self, candidates, context):
        mask = np.random.random(len(candidates)) < 0.5  # noqa: NPY002
        mask[0] = True
        return candidates.keep(mask)


class PrefersHighestOfEquals(Warp):
    keeps_winner = True

    def __call__(self, candidates, context):
        last = np.flatnonzero(candidates.logits == candidates.logits.max())[-1]
        return candidates.keep(np.arange(len(candidates)) == last)


class CountsCalls(Warp):
    def __call__(self, candidates, context):
        self.counts[-1] = self.counts.get(-1, 0) + 1
        return candidates.with_logits(candidates.logits / self.counts[-1])


class SharesState(Warp):
    def fork(self):
        return copy.copy(self)


class OneForAll(Warp):
    """Its counts are the class's, which each new one empties."""

    counts = {}  # noqa: RUF012 - the fault

    def __init__(self):
        self.counts.clear()

    def fork(self):
        other = copy.copy(self)
        other.counts = dict(self.counts)
        return other


class Halves(Warp):
    class Settings(Settings):
        strength: float

    neutral = {"strength": 1.0}  # noqa: RUF012 - as a plugin writes it

    def __init__(self, settings):
        super().__init__()
        self.strength = settings.strength

    def __call__(self, candidates, context):
        return candidates.with_logits(candidates.logits * (1 - self.strength / 2))


class Looks(Warp):
    def __call__(self, candidates, context):
        context.needs.get("hidden_states")
        return candidates


BROKEN = [
    ("settings_round_trip", Subject("sampler", Rounds, {"share": 0.25})),
    ("sound_result", Subject("sampler", Invents)),
    ("never_empty", Subject("sampler", Empties)),
    ("unique_ids", Subject("sampler", Repeats)),
    ("inputs_unchanged", Subject("sampler", WritesLogits)),
    ("determinism_by_seed", Subject("sampler", OwnRandomness)),
    ("keeps_winner", Subject("sampler", PrefersHighestOfEquals)),
    ("state_in_accept", Subject("sampler", CountsCalls)),
    ("fork_continues", Subject("sampler", SharesState)),
    ("row_isolation", Subject("sampler", OneForAll)),
    ("neutral_is_identity", Subject("sampler", Halves, {"strength": 0.5})),
    ("needs_declared", Subject("sampler", Looks)),
]
