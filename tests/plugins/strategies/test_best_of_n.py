"""Best of n: several sampled texts, and the one that scores best."""

import numpy as np
import pytest

from tests.plugins.samplers.chains import step
from triptych.core.errors import InputError
from triptych.core.sampling import Chain
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy
from triptych.plugins.strategies.autoregressive import Autoregressive
from triptych.plugins.strategies.best_of_n import SCORES, BestOfN
from triptych.testing import FakeDecoder

PROMPT = [1, 2, 3, 1, 2]


def generate(strategy, seed, *, chooser=None, **limits):
    decoder = FakeDecoder(seed=seed)
    steps = [step("temperature", temperature=1.5), chooser or Draw()]
    chain = Chain(steps, seed=seed, prompt_tokens=PROMPT)
    limits = {"max_new_tokens": 12, "eos_ids": {0}, **limits}
    return decoder.generate(strategy, chain, **limits)


def best_of(n, score="mean_logprob"):
    return BestOfN(BestOfN.Settings(n=n, score=score))


def logprobs(seed, tokens):
    """Of a text's tokens, asked of the decoder one by one."""
    decoder, text, found = FakeDecoder(seed=seed), list(PROMPT), []
    for token in tokens:
        row = decoder.logits(text).astype(np.float64)
        found.append(row[token] - np.log(np.exp(row).sum()))
        text.append(token)
    return found


@pytest.mark.parametrize("limits", [{}, {"eos_ids": ()}, {"max_length": len(PROMPT) + 3}])
def test_one_of_one_is_plain_sampling(limits):
    for seed in range(15):
        plain = generate(Autoregressive(), seed, **limits)
        assert generate(best_of(1), seed, **limits).emitted == plain.emitted


class Watched(BestOfN):
    """Remembers the texts that it scored."""

    def __init__(self, settings):
        super().__init__(settings)
        self.texts = []

    def score(self, text):
        self.texts.append((list(text.tokens), super().score(text)))
        return self.texts[-1][1]


WORTH = {"mean_logprob": np.mean, "logprob": np.sum, "worst_logprob": np.min}


@pytest.mark.parametrize("score", SCORES)
def test_the_best_of_them_is_given(score):
    for seed in range(10):
        strategy = Watched(BestOfN.Settings(n=5, score=score))
        given = generate(strategy, seed)
        assert len(strategy.texts) == 5
        for tokens, said in strategy.texts:
            assert said == pytest.approx(WORTH[score](logprobs(seed, tokens)), abs=1e-5)
        best = max(strategy.texts, key=lambda text: text[1])
        assert given.emitted == best[0]


def test_the_texts_differ_and_the_seed_decides_them():
    strategies = [Watched(BestOfN.Settings(n=6)) for _ in range(2)]
    one, other = (generate(strategy, 3) for strategy in strategies)
    assert one.emitted == other.emitted
    assert strategies[0].texts == strategies[1].texts
    assert len({tuple(tokens) for tokens, _ in strategies[0].texts}) > 3


def test_more_texts_are_never_worse():
    for seed in range(8):
        scores = []
        for n in (1, 3, 9):
            tokens = generate(best_of(n), seed).emitted
            scores.append(np.mean(logprobs(seed, tokens)))
        assert scores == sorted(scores)


def test_a_chain_without_chance_is_refused():
    with pytest.raises(InputError, match="end the sampler with 'draw'"):
        generate(best_of(4), 0, chooser=Greedy())
    assert generate(best_of(1), 0, chooser=Greedy()).emitted
