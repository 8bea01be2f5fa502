"""Each check fails on the step that breaks just its promise, and says what was broken."""

import copy

import numpy as np
import pytest
from pydantic import Field, field_serializer

from triptych.core.config.settings import Settings
from triptych.core.sampling import Candidates
from triptych.testing import check_sampler


class MinP:
    class Settings(Settings):
        p: float = Field(gt=0, le=1)

    keeps_winner = True

    def __init__(self, settings):
        self.floor = np.log(settings.p)

    def __call__(self, candidates, context):
        return candidates.keep(candidates.logits >= candidates.logits.max() + self.floor)


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


class Chooser:
    """A good chooser to break."""

    def __init__(self):
        pass

    def __call__(self, candidates, context):
        return int(candidates.ids[int(context.rng.random() * len(candidates))])


class Draws(Warp):
    """A good warp that draws: it drops each token but the first with one chance in two."""

    def __call__(self, candidates, context):
        mask = context.rng.random(len(candidates)) < 0.5
        mask[0] = True
        return super().__call__(candidates.keep(mask), context)


class Unsorted(Warp):
    """Order is the chain's business."""

    def __call__(self, candidates, context):
        order = np.argsort(-candidates.logits, kind="stable")
        return Candidates(candidates.ids[order], candidates.logits[order])


@pytest.mark.parametrize("kind", [Warp, Chooser, Draws, Unsorted])
def test_a_good_step_passes(kind):
    assert check_sampler(kind) is None


def test_a_good_step_with_settings_passes():
    check_sampler(MinP, p=0.1)
    check_sampler(MinP, p=1)


class Empties(Warp):
    def __call__(self, candidates, context):
        return candidates.keep(candidates.logits > 0)


class Masks(Warp):
    def __call__(self, candidates, context):
        return candidates.with_logits(np.where(candidates.logits > 0, candidates.logits, -np.inf))


class MakesNan(Warp):
    def __call__(self, candidates, context):
        with np.errstate(invalid="ignore"):
            return candidates.with_logits(np.sqrt(candidates.logits))


class Repeats(Warp):
    def __call__(self, candidates, context):
        twice = np.r_[candidates.ids, candidates.ids[:1]]
        return Candidates(twice, np.r_[candidates.logits, candidates.logits[:1]])


class Invents(Warp):
    def __call__(self, candidates, context):
        return Candidates(candidates.ids + 1, candidates.logits)


class SaysNothing:
    def __call__(self, candidates, context):
        return candidates


class SaysMaybe(Warp):
    keeps_winner = "sometimes"


class WarpsToAToken(Warp):
    def __call__(self, candidates, context):
        return int(candidates.ids[0])


class WritesLogits(Warp):
    def __call__(self, candidates, context):
        candidates.logits[:] -= 1
        return candidates


class WritesIds(Warp):
    def accept(self, token, candidates):
        candidates.ids[:] = candidates.ids[::-1].copy()


class WritesTokens(Warp):
    def __call__(self, candidates, context):
        context.tokens[0] += 1
        return candidates


class OwnRandomness(Draws):
    def __call__(self, candidates, context):
        mask = np.random.random(len(candidates)) < 0.5  # noqa: NPY002
        mask[0] = True
        return candidates.keep(mask)


class OwnEntropy(Draws):
    def __call__(self, candidates, context):
        mask = np.random.default_rng().random(len(candidates)) < 0.5
        mask[0] = True
        return candidates.keep(mask)


class LosesWinner(Warp):
    keeps_winner = True

    def __call__(self, candidates, context):
        if len(candidates) == 1:
            return candidates
        return (
            candidates.keep(candidates.logits < candidates.logits.max())
            if (candidates.logits.min() < candidates.logits.max())
            else candidates
        )


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


class ForksToItself(Warp):
    def fork(self):
        return self


class ForgetsInFork(Warp):
    def fork(self):
        return type(self)()


class ChoosesAnother(Chooser):
    def __call__(self, candidates, context):
        return int(candidates.ids[-1]) + 1


class ChoosesText(Chooser):
    def __call__(self, candidates, context):
        return str(candidates.ids[0])


class ChoosesAnyhow(Chooser):
    def __call__(self, candidates, context):
        return int(np.random.choice(candidates.ids))  # noqa: NPY002


class Raises(Warp):
    def __call__(self, candidates, context):
        return candidates.keep(candidates.ids < candidates.ids[1])


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (Empties, "Empties on one candidate left no candidate; a warp keeps at least one"),
        (Masks, "Masks on one candidate set every logit to -inf"),
        (MakesNan, "MakesNan on 1,000 random logits made a logit NaN"),
        (Repeats, "Repeats on 1,000 random logits returned a token twice"),
        (Invents, r"Invents on 1,000 random logits returned token \[1000\], which it was not"),
        (SaysNothing, "SaysNothing is a warp and must say `keeps_winner = True` or `False`"),
        (SaysMaybe, "SaysMaybe is a warp and must say `keeps_winner = True` or `False`"),
        (WarpsToAToken, "`keeps_winner` makes it a warp: a warp returns Candidates"),
        (WritesLogits, "WritesLogits on .* changed the logits that it was given"),
        (WritesIds, "WritesIds on .* changed the ids that it was given"),
        (WritesTokens, "WritesTokens on .* changed the committed tokens"),
        (OwnRandomness, "OwnRandomness gave different results for one seed"),
        (OwnEntropy, "OwnEntropy gave different results for one seed"),
        (LosesWinner, "LosesWinner says keeps_winner, but on .* the most likely token was"),
        (PrefersHighestOfEquals, "on two equal logits the most likely token was 1 and became 4"),
        (CountsCalls, "CountsCalls on .* depends on rows seen before, though no token was"),
        (SharesState, "SharesState changed when a fork of it went on"),
        (ForksToItself, "ForksToItself: `fork` must return a new ForksToItself"),
        (ForgetsInFork, "A fork of ForgetsInFork went on differently from the original"),
        (ChoosesAnother, "ChoosesAnother on .* chose token 1000, which it was not given"),
        (ChoosesText, "ChoosesText on .* returned '0': a warp returns Candidates, a chooser a"),
        (ChoosesAnyhow, "ChoosesAnyhow gave different results for one seed"),
        (Raises, "Raises on one candidate raised IndexError"),
    ],
)
def test_a_step_that_breaks_a_promise_is_told_which(kind, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_sampler(kind)


class Rounds(MinP):
    class Settings(Settings):
        p: float

        @field_serializer("p")
        def _short(self, value):
            return round(value, 1)


class SaysText(MinP):
    class Settings(Settings):
        p: float

        @field_serializer("p")
        def _text(self, value):
            return f"{value:.3f}"


class Opaque(MinP):
    class Settings(Settings, arbitrary_types_allowed=True):
        p: float
        rng: np.random.Generator | None = None


class Plain(MinP):
    class Settings:
        def __init__(self, p):
            self.p = p


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (Rounds, "Rounds.Settings became .* through JSON"),
        (SaysText, "SaysText.Settings cannot be read back from its JSON"),
        (Opaque, "Opaque.Settings has no JSON Schema"),
        (Plain, "Plain.Settings must be a subclass of triptych.Settings"),
    ],
)
def test_settings_that_do_not_survive_json_are_told(kind, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_sampler(kind, p=0.25)


def test_settings_for_a_step_without_any_are_told():
    with pytest.raises(AssertionError, match="Warp has no Settings, so it takes none"):
        check_sampler(Warp, p=1)


def test_the_check_leaves_the_global_generator_as_it_was():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    check_sampler(Warp)
    assert np.random.random() == expected  # noqa: NPY002


class Layers(Warp):
    """Lowers what an early layer already said."""

    needs = ("early_logits.3",)

    def __call__(self, candidates, context):
        early = context.needs["early_logits.3"]
        return candidates.with_logits(candidates.logits - early[candidates.ids])


def test_a_step_is_given_what_it_says_that_it_needs():
    check_sampler(Layers)
