"""The further warps leave what transformers' processors of the same kind leave."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.samplers.chains import step
from tests.plugins.samplers.test_against_transformers import rows
from triptych.core.sampling import Chain
from triptych.plugins.samplers.greedy import Greedy

torch = pytest.importorskip("torch")
reference = pytest.importorskip("transformers.generation.logits_process")

hundreds = settings(max_examples=150, deadline=None)
ENDS = [3, 5]


class Vocabulary:
    """Three letters a token, so that words are runs of tokens."""

    eos_ids = frozenset(ENDS)

    def encode(self, text):
        return [sum(map(ord, text[at : at + 3])) % 50 for at in range(0, len(text), 3)]

    def decode(self, tokens):
        return str(tokens)


def theirs(processors, row, history=()):
    """float64 [V]: the probabilities that transformers leaves, computed in float64."""
    scores = torch.from_numpy(row.astype(np.float64))[None]
    ids = torch.tensor([list(history)], dtype=torch.long)
    for processor in processors:
        scores = processor(ids, scores)
    return torch.softmax(scores, -1)[0].numpy()


def ours(steps, row, history=(), prompt=0):
    """What our warps leave; the last len(history) - prompt tokens are the reply's."""
    chain = Chain(
        [*steps, Greedy()], seed=0, prompt_tokens=history[:prompt], vocabulary=Vocabulary()
    )
    for token in history[prompt:]:
        chain.accept(token, chain.warp(np.zeros(100, np.float32)))
    candidates = chain.warp(row)
    probabilities = np.zeros(row.size)
    probabilities[candidates.ids] = candidates.probabilities()
    return probabilities


def clear(values, edge, margin=1e-9):
    """Whether rounding cannot decide on which side of an edge any of the values is."""
    values = values[np.isfinite(values)]
    return not values.size or np.abs(values - edge).min() > margin


def probabilities(row):
    return torch.softmax(torch.from_numpy(row.astype(np.float64)), -1).numpy()


def entropy(row):
    p = probabilities(row)
    p = p[p > 0]
    return -(p * np.log(p)).sum()


@hundreds
@given(rows(), st.floats(0.001, 1))
def test_min_p(row, p):
    found = probabilities(row)
    if p < 1 and not clear(found / found.max(), p):
        return
    expected = theirs([reference.MinPLogitsWarper(p)], row)
    np.testing.assert_allclose(ours([step("min_p", p=p)], row), expected, 1e-9, 1e-300)


@hundreds
@given(rows(), st.floats(1e-4, 0.5))
def test_epsilon(row, epsilon):
    if not clear(probabilities(row), epsilon):
        return
    expected = theirs([reference.EpsilonLogitsWarper(epsilon)], row)
    np.testing.assert_allclose(
        ours([step("epsilon", epsilon=epsilon)], row), expected, 1e-9, 1e-300
    )


@hundreds
@given(rows(), st.floats(1e-4, 0.9))
def test_eta(row, epsilon):
    floor = min(epsilon, np.sqrt(epsilon) * np.exp(-entropy(row)))
    if not clear(probabilities(row) / floor, 1):
        return
    # Categorical cannot take -inf, so theirs is asked about the tokens that are possible.
    possible = np.flatnonzero(row > -np.inf)
    expected = np.zeros(row.size)
    warper = reference.EtaLogitsWarper(epsilon)
    warper.epsilon = warper.epsilon.double()
    expected[possible] = theirs([warper], row[possible])
    if not clear(probabilities(row) / float(np.float32(floor)), 1, 1e-6):
        return
    np.testing.assert_allclose(ours([step("eta", epsilon=epsilon)], row), expected, 1e-9, 1e-300)


@hundreds
@given(rows(), st.floats(0.01, 0.99))
def test_typical(row, mass):
    found = probabilities(row)
    found = found[found > 0]
    distance = np.abs(-np.log(found) - entropy(row))
    order = np.argsort(distance, kind="stable")
    apart = np.diff(distance[order])
    if not clear(np.cumsum(found[order]), mass) or ((apart > 0) & (apart < 1e-9)).any():
        return
    possible = np.flatnonzero(row > -np.inf)
    expected = np.zeros(row.size)
    expected[possible] = theirs([reference.TypicalLogitsWarper(mass)], row[possible])
    # Tokens as near as the last: theirs may lose some of them to rounding.
    result = ours([step("typical", mass=mass)], row)
    if np.unique(row[possible]).size == possible.size:
        np.testing.assert_allclose(result, expected, 1e-9, 1e-300)
    else:
        assert set(np.flatnonzero(expected)) <= set(np.flatnonzero(result))


@hundreds
@given(rows(), st.floats(0.01, 1))
def test_top_h(row, h):
    if np.unique(row).size < row.size:
        return
    top = np.sort(row.astype(np.float64))[::-1][:100]
    p = np.exp(top - top[0]) / np.exp(top - top[0]).sum()
    terms = np.where(p > 0, -p * np.log(np.where(p > 0, p, 1)), 0)
    total = max(terms.sum(), 1e-300)
    # Where all is certain, the sum is hardly more than what rounding adds to it.
    if not clear(np.cumsum(terms) / total, h, margin=1e-9 + 1e-14 / total):
        return
    expected = theirs([reference.TopHLogitsWarper(h)], row)
    np.testing.assert_allclose(ours([step("top_h", h=h)], row), expected, 1e-9, 1e-300)


histories = st.lists(st.integers(0, 99), min_size=0, max_size=60)
short_rows = st.integers(0, 2**32).map(
    lambda seed: (4 * np.random.default_rng(seed).standard_normal(100)).astype(np.float32)
)


@hundreds
@given(short_rows, histories, st.floats(0.2, 3), st.booleans(), st.integers(0, 60))
def test_repetition_penalty(row, history, penalty, prompt, length):
    length = min(length, len(history))
    counted = history if prompt else history[length:]
    expected = theirs([reference.RepetitionPenaltyLogitsProcessor(float(penalty))], row, counted)
    warp = step("repetition_penalty", penalty=penalty, prompt=prompt)
    np.testing.assert_allclose(ours([warp], row, history, length), expected, 1e-9, 1e-300)


@hundreds
@given(short_rows, st.lists(st.integers(0, 3), max_size=40), st.integers(1, 5))
def test_no_repeat_ngram(row, history, size):
    if size == 1 and not history:
        return
    expected = theirs([reference.NoRepeatNGramLogitsProcessor(size)], row, history)
    result = ours([step("no_repeat_ngram", size=size)], row, history)
    np.testing.assert_allclose(result, expected, 1e-9, 1e-300)


runs = st.lists(st.integers(0, 4), min_size=1, max_size=3)


@hundreds
@given(
    short_rows,
    st.lists(st.integers(0, 4), max_size=10),
    st.dictionaries(runs.map(tuple), st.floats(-9, 9), min_size=1, max_size=8),
)
def test_logit_bias_of_runs_of_tokens(row, history, biases):
    processor = reference.SequenceBiasLogitsProcessor(dict(biases))
    # They keep biases in float32; ours are what was written.
    expected = theirs([processor], row, history)
    warp = step(
        "logit_bias", bias=[{"ids": list(run), "bias": bias} for run, bias in biases.items()]
    )
    np.testing.assert_allclose(ours([warp], row, history), expected, 1e-4)


@hundreds
@given(
    short_rows,
    st.lists(st.integers(0, 4), max_size=10),
    st.lists(runs, min_size=1, max_size=6),
)
def test_bad_words(row, history, words):
    processor = reference.NoBadWordsLogitsProcessor(words, eos_token_id=ENDS)
    if not processor.sequence_bias:
        return
    expected = theirs([processor], row, history)
    result = ours([step("bad_words", ids=words)], row, history)
    np.testing.assert_allclose(result, expected, 1e-9, 1e-300)


@hundreds
@given(short_rows, st.lists(st.integers(10, 99), min_size=1, max_size=90))
def test_bad_words_of_one_token_suppress_it(row, tokens):
    expected = theirs([reference.SuppressTokensLogitsProcessor(tokens)], row)
    result = ours([step("bad_words", ids=[[token] for token in tokens])], row)
    np.testing.assert_allclose(result, expected, 1e-9, 1e-300)


@hundreds
@given(short_rows, histories, st.integers(0, 20), st.integers(0, 40))
def test_min_new_tokens(row, history, length, count):
    length = min(length, len(history))
    processor = reference.MinNewTokensLengthLogitsProcessor(length, count, ENDS)
    expected = theirs([processor], row, history)
    result = ours([step("min_new_tokens", count=count)], row, history, length)
    np.testing.assert_allclose(result, expected, 1e-9, 1e-300)
    # What transformers' older min_length says counts the prompt, too.
    total = reference.MinLengthLogitsProcessor(count + length, ENDS)
    np.testing.assert_allclose(result, theirs([total], row, history), 1e-9, 1e-300)


@hundreds
@given(short_rows, histories, st.integers(0, 20), st.integers(0, 40), st.floats(0.9, 1.3))
def test_exponential_decay_length(row, history, length, start, factor):
    length = min(length, len(history))
    processor = reference.ExponentialDecayLengthPenalty((start, factor), ENDS, length)
    expected = theirs([processor], row, history)
    warp = step("exponential_decay_length", start=start, factor=factor)
    np.testing.assert_allclose(ours([warp], row, history, length), expected, 1e-9, 1e-300)
