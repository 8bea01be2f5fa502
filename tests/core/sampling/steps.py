"""Steps for tests of the chain."""

import numpy as np

from triptych.core.sampling import Candidates


class Pass:
    """A warp that does nothing."""

    keeps_winner = True

    def __call__(self, candidates, context):
        return candidates


class Does:
    """A warp that returns what a function makes of the candidates."""

    keeps_winner = False

    def __init__(self, function):
        self.function = function

    def __call__(self, candidates, context):
        return self.function(candidates)


class First:
    """A chooser: the first candidate."""

    def __call__(self, candidates, context):
        return candidates.ids[0]


class Says:
    """A chooser that answers the same to everything."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, candidates, context):
        return self.answer


class Uniform:
    """A chooser: any candidate, all alike, from one number."""

    def __call__(self, candidates, context):
        return candidates.ids[int(context.rng.random() * len(candidates))]


class Never:
    """A warp with state: bans each token once it was committed."""

    keeps_winner = False

    def __init__(self):
        self.seen = []
        self.left = []

    def __call__(self, candidates, context):
        return candidates.keep(~np.isin(candidates.ids, self.seen))

    def accept(self, token, candidates):
        self.seen.append(token)
        self.left.append(candidates.ids.tolist())


def row(*logits):
    return np.array(logits, np.float32)


def candidates(*logits):
    return Candidates.of_row(row(*logits))
