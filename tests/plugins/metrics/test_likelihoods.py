"""Metrics that ask pipelines how likely tokens are, against plain recomputation."""

import numpy as np
import pytest

import triptych
from triptych import Answer, Base, InputError, Item, Request
from triptych.models.sketch.dataset import SketchScenes
from triptych.plugins.metrics.divergence import KLToBase, Top1Agreement
from triptych.plugins.metrics.perplexity import Perplexity
from triptych.testing import answer


@pytest.fixture(scope="module")
def pipe():
    return triptych.load()


@pytest.fixture(scope="module")
def other():
    return triptych.load(insert=[{"after mrope": {"token_norm": 0.2}}])


@pytest.fixture(scope="module")
def item():
    return next(iter(SketchScenes(SketchScenes.Settings(tasks=("describe",), per_task=1))))


def rows(pipe, item, tokens):
    """Probabilities after the question and each token, one token at a time, float64."""
    sequence = pipe.open(pipe.processor.prompt(item.request))
    found = [pipe.logits(sequence)[0].astype(np.float64)]
    for token in tokens:
        sequence.append([token])
        found.append(pipe.logits(sequence)[0].astype(np.float64))
    pipe.keep(sequence)
    shares = np.exp(np.array(found) - np.max(found, axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def compared(pipe, other, item):
    tokens = pipe.generate(item.request, max_new_tokens=12).tokens
    reply = other.generate(item.request, max_new_tokens=12)
    return (
        Answer(reply, other, Base(pipe, tokens)),
        rows(pipe, item, tokens),
        rows(other, item, tokens),
    )


def test_kl_is_that_of_distributions_along_the_bases_answer(compared, item):
    said, base, arm = compared
    expected = (base * np.log(base / arm)).sum(axis=1).mean()
    assert expected > 0.01, "or nothing is proved"
    assert KLToBase()(item, said)["kl_to_base"] == pytest.approx(expected, rel=1e-3)


def test_agreement_is_how_often_the_likeliest_tokens_are_the_same(compared, item):
    said, base, arm = compared
    expected = (base.argmax(axis=1) == arm.argmax(axis=1)).mean()
    assert 0 < expected < 1, "or nothing is proved"
    assert Top1Agreement()(item, said)["top1_agreement"] == expected


@pytest.mark.parametrize(("kind", "score"), [(KLToBase, 0.0), (Top1Agreement, 1.0)])
def test_a_pipeline_is_its_own_base(kind, score, pipe, item):
    reply = pipe.generate(item.request, max_new_tokens=4)
    for base in (None, Base(pipe, reply.tokens), Base(pipe, ())):
        (found,) = kind()(item, Answer(reply, pipe, base)).values()
        assert found == score


def test_numbers_do_not_depend_on_what_was_asked_before(compared, item, other):
    said, _, _ = compared
    first = KLToBase()(item, said)
    other.generate(item.request, max_new_tokens=20)
    assert KLToBase()(item, said) == first


def test_vocabularies_of_two_sizes_are_not_compared(compared, item, monkeypatch):
    said, _, _ = compared
    logits = type(said.pipeline).logits

    def fewer(self, sequence, rows=1):
        found = logits(self, sequence, rows)
        return found[:, :-1] if self is said.pipeline else found

    monkeypatch.setattr(type(said.pipeline), "logits", fewer)
    with pytest.raises(InputError, match="distributions cannot be compared"):
        KLToBase()(item, said)


def test_log_perplexity_is_the_mean_surprise_of_the_references_tokens(pipe, item):
    tokens = pipe.processor.encode(item.reference)
    shares = rows(pipe, item, tokens)[:-1]
    expected = -np.log(shares[np.arange(len(tokens)), tokens]).mean()
    found = Perplexity()(item, Answer(pipe.generate(item.request), pipe))
    assert found == {"log_perplexity": pytest.approx(expected, rel=1e-3, abs=1e-5)}


def test_of_several_references_the_likeliest_counts(pipe):
    said = Answer(pipe.generate("What is the capital of France?"), pipe)
    scores = [
        Perplexity()(Item("one", Request("What is the capital of France?"), reference), said)
        for reference in ("Paris", "Oslo", ["Oslo", "Paris"])
    ]
    assert scores[0] == scores[2]
    assert scores[1]["log_perplexity"] > scores[0]["log_perplexity"] + 1


@pytest.mark.parametrize("kind", [Perplexity, KLToBase, Top1Agreement])
def test_an_answer_of_nobody_is_refused(kind, item):
    said = answer("red")
    with pytest.raises(InputError, match="the pipeline"):
        kind()(item, Answer(said.reply, None, said.base))
