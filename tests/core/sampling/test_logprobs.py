"""How likely each chosen token was."""

import json

import numpy as np
import pytest
from scipy.special import log_softmax

import triptych
from tests.plugins.samplers.chains import step
from triptych.core.errors import InputError
from triptych.core.sampling import Chain
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy


def rows(count, size=200):
    return (3 * np.random.default_rng(0).standard_normal((count, size))).astype(np.float32)


def test_raw_ones_are_of_the_whole_vocabulary_and_processed_ones_of_what_is_left():
    warps = [step("temperature", temperature=0.5), step("top_k", k=5)]
    chain = Chain([*warps, Draw()], seed=1, top=3)
    for row in rows(30):
        chosen = chain.choose(row)
        said = chain.logprobs[-1]
        raw = log_softmax(row.astype(np.float64))
        left = np.argsort(-row)[:5]
        processed = log_softmax(row[left].astype(np.float64) / 0.5)
        assert said.token == chosen
        assert said.raw == pytest.approx(raw[chosen])
        assert said.processed == pytest.approx(processed[left.tolist().index(chosen)])
        assert [token for token, _ in said.top_raw] == left[:3].tolist()
        assert [log for _, log in said.top_raw] == pytest.approx(raw[left[:3]])
        assert [token for token, _ in said.top_processed] == left[:3].tolist()
        assert [log for _, log in said.top_processed] == pytest.approx(processed[:3])


def test_fewer_are_ranked_where_fewer_are_possible():
    chain = Chain([step("top_k", k=1), Draw()], seed=0, top=5)
    chain.choose(np.array([1, 3, -np.inf, 2], np.float32))
    (said,) = chain.logprobs
    assert [token for token, _ in said.top_raw] == [1, 3, 0]
    assert said.top_processed == ((1, 0.0),)


def test_equals_are_ranked_by_their_ids():
    chain = Chain([Greedy()], seed=0, top=2)
    chain.choose(np.zeros(9, np.float32))
    assert [token for token, _ in chain.logprobs[0].top_raw] == [0, 1]


def test_nothing_is_kept_unless_it_is_asked_for():
    chain = Chain([Greedy()], seed=0)
    chain.choose(rows(1)[0])
    assert not chain.logprobs


@pytest.mark.parametrize("strategy", ["autoregressive", "prompt_lookup"])
def test_a_reply_has_one_for_each_token_and_they_are_what_score_says(strategy):
    pipe = triptych.load(overrides={"strategy": strategy})
    question = "What is the capital of France? Say it as it is."
    reply = pipe.generate(question, logprobs=2, temperature=1.3, seed=3, max_new_tokens=12)
    assert [said.token for said in reply.logprobs] == list(reply.tokens)
    score = pipe.score(question, reply.tokens)
    assert [said.raw for said in reply.logprobs] == pytest.approx(score.logprobs, abs=1e-4)
    read = json.loads(json.dumps(reply.to_dict()))["logprobs"]
    assert read[0]["top_raw"][0] == list(reply.logprobs[0].top_raw[0])
    assert "logprobs" not in pipe.generate(question, max_new_tokens=2).to_dict()


def test_a_count_is_a_whole_number():
    with pytest.raises(InputError, match="logprobs is -1"):
        triptych.load().generate("hi", logprobs=-1)
