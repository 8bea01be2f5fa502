"""The further warps, by arithmetic done by hand or by plain references written here."""

import math
from importlib import import_module
from random import Random

import numpy as np
import pytest
from pydantic import ValidationError

from tests.plugins.samplers.chains import chain, row, step
from triptych.core.errors import InputError
from triptych.core.sampling import Chain
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.dry import longest_matches
from triptych.plugins.samplers.manifest import samplers
from triptych.testing import check_sampler
from triptych.testing.sampler_checks import LETTERS

INF = float("inf")
SETTINGS = {
    "temperature": [{"temperature": 0.7}],
    "top_k": [{"k": 20}],
    "top_p": [{"p": 0.9}],
    "min_p": [{"p": 0.1}, {"p": 1}],
    "typical": [{"mass": 0.5}, {"mass": 1}],
    "epsilon": [{"epsilon": 0.01}, {"epsilon": 0.9}],
    "eta": [{"epsilon": 0.01}],
    "top_n_sigma": [{"n": 1}],
    "top_h": [{"h": 0.5}, {"h": 1, "among": 3}],
    "xtc": [{}, {"probability": 1, "threshold": 0.01}],
    "mirostat": [{}, {"tau": 0.5, "eta": 1}],
    "dynamic_temperature": [{"low": 0.5, "high": 2}],
    "repetition_penalty": [{"penalty": 1.3}, {"penalty": 0.8, "prompt": False}],
    "presence_penalty": [{"penalty": 1}],
    "frequency_penalty": [{"penalty": -0.5}],
    "no_repeat_ngram": [{"size": 1}, {"size": 2}],
    "dry": [{"multiplier": 0.8}, {"multiplier": 1, "allowed": 1, "breakers": [], "window": 5}],
    "logit_bias": [{"bias": [{"text": "\t", "bias": 3}, {"ids": [2, 6], "bias": -3}]}],
    "bad_words": [{"words": ["\x07"]}, {"ids": [[3], [2, 6]]}],
    "min_new_tokens": [{"count": 5}],
    "exponential_decay_length": [{"start": 1, "factor": 1.5}],
    "draw": [{}],
    "greedy": [{}],
}


# A grammar cannot keep what it is not given: see test_constrain.py.
CHECKED = [component for component in samplers() if component.name != "constrain"]


@pytest.mark.parametrize("component", CHECKED, ids=lambda component: component.name)
def test_every_step_keeps_its_promises(component):
    for settings in SETTINGS[component.name]:
        check_sampler(component_class(component), **settings)


def component_class(component):
    module, _, name = component.target.partition(":")
    return getattr(import_module(module), name)


NEUTRAL = [
    ("min_p", {"p": 1e-300}),
    ("typical", {"mass": 1}),
    ("xtc", {"probability": 0}),
    ("repetition_penalty", {"penalty": 1}),
    ("presence_penalty", {"penalty": 0}),
    ("frequency_penalty", {"penalty": 0}),
    ("no_repeat_ngram", {"size": 99}),
    ("dry", {"multiplier": 0}),
    ("logit_bias", {"bias": [{"ids": [3], "bias": 0}]}),
    ("bad_words", {}),
    ("min_new_tokens", {"count": 0}),
    ("exponential_decay_length", {"start": 0, "factor": 1}),
    ("dynamic_temperature", {"low": 1, "high": 1}),
    ("top_h", {"h": 1, "among": 10_000}),
    ("mirostat", {"tau": 1e6}),
]


@pytest.mark.parametrize(("name", "settings"), NEUTRAL)
def test_neutral_settings_change_nothing(name, settings):
    logits = (3 * np.random.default_rng(0).standard_normal(300)).astype(np.float32)
    neutral = Chain(
        [step(name, **settings), Draw()], seed=0, prompt_tokens=[1, 2, 3, 1, 2], vocabulary=LETTERS
    )
    left = neutral.warp(logits)
    assert left.ids.tolist() == list(range(300))
    np.testing.assert_allclose(left.logits, logits, rtol=1e-6)


# top_n_sigma


def test_top_n_sigma_measures_in_deviations_of_the_candidates():
    # Mean 2, deviations 2, 0, -1, -1: variance (4 + 0 + 1 + 1) / 4 = 1.5.
    logits = row(4, 2, 1, 1)
    edge = 2 / math.sqrt(1.5)
    assert chain(step("top_n_sigma", n=edge - 0.01)).warp(logits).ids.tolist() == [0]
    assert chain(step("top_n_sigma", n=edge + 0.01)).warp(logits).ids.tolist() == [0, 1]


def test_top_n_sigma_does_not_see_the_temperature():
    logits = (3 * np.random.default_rng(5).standard_normal(1000)).astype(np.float32)
    cool = chain(step("temperature", temperature=0.3), step("top_n_sigma", n=1.5)).warp(logits)
    assert chain(step("top_n_sigma", n=1.5)).warp(logits).ids.tolist() == cool.ids.tolist()


# xtc


def test_xtc_leaves_the_least_likely_of_the_top_choices():
    # Probabilities 0.4, 0.3, 0.2, 0.1.
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    always = step("xtc", probability=1, threshold=0.15)
    assert chain(always).warp(logits).ids.tolist() == [2, 3]


def test_xtc_leaves_a_single_top_choice_alone():
    logits = np.log(np.array([0.8, 0.1, 0.1], np.float32))
    assert len(chain(step("xtc", probability=1, threshold=0.3)).warp(logits)) == 3


def test_xtc_acts_as_often_as_it_says():
    logits = np.log(np.array([0.5, 0.5], np.float32))
    xtc = chain(step("xtc", probability=0.25, threshold=0.5))
    acted = sum(len(xtc.warp(logits)) == 1 for _ in range(4000))
    assert 900 < acted < 1100  # 1,000 +- 3.6 deviations of 27


# mirostat


def test_mirostat_follows_the_papers_second_algorithm():
    rng = np.random.default_rng(0)
    chosen = Chain([step("mirostat", tau=2.0, eta=0.3), Draw()], seed=7)
    limit = 4.0
    for _ in range(60):
        logits = (2.5 * rng.standard_normal(40)).astype(np.float32)
        p = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
        kept = [token for token in range(40) if -math.log2(p[token]) <= limit] or [int(p.argmax())]
        assert chosen.warp(logits).ids.tolist() == kept
        token = chosen.choose(logits)
        limit -= 0.3 * (-math.log2(p[token] / p[kept].sum()) - 2.0)


def test_mirostat_keeps_the_surprise_near_its_aim():
    logits = (1.5 * np.random.default_rng(1).standard_normal(2000)).astype(np.float32)
    kept = Chain([step("mirostat", tau=4.0), Draw()], seed=3)
    seen = []
    for _ in range(1500):
        left = kept.warp(logits)
        token = kept.choose(logits)
        seen.append(-math.log2(left.probabilities()[left.ids.tolist().index(token)]))
    assert abs(np.mean(seen[300:]) - 4.0) < 0.15


# dynamic_temperature


def test_dynamic_temperature_is_high_for_a_flat_row_and_low_for_a_certain_one():
    warm = step("dynamic_temperature", low=0.5, high=3)
    assert chain(warm).warp(row(2, 2, 2, 2)).logits == pytest.approx([2 / 3] * 4)
    assert chain(warm).warp(row(400, 0)).logits == pytest.approx([800, 0])


def test_dynamic_temperature_goes_by_the_entropy():
    # Probabilities 0.75 and 0.25: H = 0.8113 bits of the 1 possible.
    logits = np.log(np.array([0.75, 0.25]))
    share = 0.811278124459
    left = chain(step("dynamic_temperature", low=1, high=2, exponent=2)).warp(logits)
    assert left.logits == pytest.approx(logits / (1 + share**2))


def test_dynamic_temperatures_are_in_order():
    with pytest.raises(ValidationError, match="swap them"):
        step("dynamic_temperature", low=2, high=1)


# presence and frequency


def test_penalties_count_the_reply_and_not_the_prompt():
    for name, taken in (("presence_penalty", 0.5), ("frequency_penalty", 1.0)):
        replied = Chain([step(name, penalty=0.5), Draw()], seed=0, prompt_tokens=[0, 0])
        for token in (2, 1, 2):
            replied.accept(token, replied.warp(row(0, 0, 0, 0)))
        assert replied.warp(row(3, 3, 3, 3)).logits.tolist() == [3, 2.5, 3 - taken, 3]


# no_repeat_ngram


def test_a_ban_of_everything_left_is_no_ban():
    banned = Chain([step("no_repeat_ngram", size=1), Draw()], seed=0, prompt_tokens=[0, 1])
    assert banned.warp(row(1, 2)).ids.tolist() == [0, 1]


# dry


def plain_dry(tokens, breaks):
    """For each token: the longest run that ends the tokens and stood before it once, by search."""
    found = {}
    for at in range(1, len(tokens)):
        if tokens[at] in breaks:
            continue
        length = 0
        for size in range(1, at + 1):
            run = tokens[at - size : at]
            if run != tokens[-size:] or set(run) & set(breaks) or size > 50:
                break
            length = size
        if length:
            found[tokens[at]] = max(length, found.get(tokens[at], 0))
    return found


@pytest.mark.parametrize("breaks", [(), (3,), (0, 1)])
def test_dry_finds_the_longest_repetitions(breaks):
    random = Random(0)
    for _ in range(300):
        tokens = random.choices(range(4), k=random.randint(0, 40))
        found = longest_matches(np.array(tokens, np.int64), frozenset(breaks))
        assert found == plain_dry(tokens, breaks)


def test_dry_penalizes_what_would_make_a_repetition_longer():
    spoken = Chain(
        [step("dry", multiplier=0.8, base=2, allowed=2), Draw()],
        seed=0,
        prompt_tokens=LETTERS.encode("abcd abc"),
        vocabulary=LETTERS,
    )
    logits = spoken.warp(np.zeros(200, np.float32)).logits
    # "abc" was there before "d": three tokens, one more than allowed.
    assert logits[ord("d")] == pytest.approx(-0.8 * 2)
    assert np.count_nonzero(logits) == 1


def test_dry_stops_at_breakers():
    spoken = Chain(
        [step("dry", multiplier=1, base=2), Draw()],
        seed=0,
        prompt_tokens=LETTERS.encode("ab\nc ab\n"),
        vocabulary=LETTERS,
    )
    assert not np.count_nonzero(spoken.warp(np.zeros(200, np.float32)).logits)


# texts


def test_a_bad_word_is_forbidden_at_its_last_token():
    said = Chain(
        [step("bad_words", words=["no"]), Draw()],
        seed=0,
        prompt_tokens=LETTERS.encode("n"),
        vocabulary=LETTERS,
    )
    assert ord("o") not in said.warp(np.zeros(200, np.float32)).ids
    said.accept(ord("x"), said.warp(np.zeros(200, np.float32)))
    assert ord("o") in said.warp(np.zeros(200, np.float32)).ids


def test_the_end_of_a_reply_cannot_be_forbidden():
    said = Chain([step("bad_words", ids=[[0], [1]]), Draw()], seed=0, vocabulary=LETTERS)
    assert said.warp(row(1, 1, 1)).ids.tolist() == [0, 2]


def test_a_run_is_a_text_or_ids():
    for wrong in ({"bias": 1}, {"text": "a", "ids": [1], "bias": 1}, {"ids": [], "bias": 1}):
        with pytest.raises(ValidationError):
            step("logit_bias", bias=[wrong])


def test_a_step_that_needs_the_vocabulary_says_so():
    with pytest.raises(InputError, match="MinNewTokens needs a vocabulary"):
        Chain([step("min_new_tokens", count=1), Draw()], seed=0)
