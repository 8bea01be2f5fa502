"""The warps leave the tokens and the probabilities that transformers' warpers leave."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugins.samplers.chains import chain, temperature, top_k, top_p

torch = pytest.importorskip("torch")
reference = pytest.importorskip("transformers.generation.logits_process")

thousands = settings(max_examples=2000, deadline=None)

temperatures = st.floats(0.05, 5)
ks = st.integers(1, 300)
ps = st.floats(0.001, 0.999)


@st.composite
def rows(draw):
    """float32 rows: random of all widths and sizes, with ties and -inf in some of them."""
    size = draw(st.sampled_from([1, 2, 3, 17, 100, 999, 5000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    row = draw(st.sampled_from([0.01, 1, 4, 20])) * rng.standard_normal(size)
    if draw(st.booleans()):
        row = np.round(row)
    if draw(st.booleans()):
        row[rng.random(size) < 0.3] = -np.inf
        row[rng.integers(size)] = rng.standard_normal()
    return row.astype(np.float32)


def warped_by(warpers, row):
    """float64 [V]: the probabilities that transformers leaves, computed in float64."""
    scores = torch.from_numpy(row.astype(np.float64))[None]
    for warper in warpers:
        scores = warper(None, scores)
    return torch.softmax(scores, -1)[0].numpy()


def warped_by_ours(steps, row):
    candidates = chain(*steps).warp(row)
    probabilities = np.zeros(row.size)
    probabilities[candidates.ids] = candidates.probabilities()
    return probabilities


def edge_is_clear(row, p, margin=1e-9):
    """Whether rounding cannot decide which token is the nucleus's last.

    That is so when no sum of likeliest tokens comes within `margin` of p.
    """
    ranked = np.sort(row.astype(np.float64))[::-1]
    weights = np.exp(ranked - ranked[0])
    return np.abs(np.cumsum(weights) / weights.sum() - p).min() > margin


@thousands
@given(rows(), temperatures)
def test_temperature(row, value):
    theirs = warped_by([reference.TemperatureLogitsWarper(value)], row)
    np.testing.assert_allclose(warped_by_ours([temperature(value)], row), theirs, 1e-12, 1e-300)


@thousands
@given(rows(), ks)
def test_top_k_keeps_the_same_tokens_ties_included(row, k):
    theirs = warped_by([reference.TopKLogitsWarper(k)], row)
    np.testing.assert_allclose(warped_by_ours([top_k(k)], row), theirs, 1e-12, 1e-300)


@thousands
@given(rows(), ps)
def test_top_p_keeps_as_many_tokens_of_the_same_probabilities(row, p):
    if not edge_is_clear(row, p):
        return
    theirs = warped_by([reference.TopPLogitsWarper(p)], row)
    ours = warped_by_ours([top_p(p)], row)
    # Sorted, because among equals at the edge ours keeps the lowest ids, theirs the highest.
    np.testing.assert_allclose(np.sort(ours), np.sort(theirs), 1e-9, 1e-300)
    if np.unique(row).size == row.size:
        assert np.array_equal(ours > 0, theirs > 0)


@thousands
@given(rows(), temperatures, ks, ps)
def test_the_default_chain(row, value, k, p):
    likely = warped_by(
        [reference.TemperatureLogitsWarper(value), reference.TopKLogitsWarper(k)], row
    )
    if not edge_is_clear(np.log(likely[likely > 0]), p):
        return
    theirs = warped_by(
        [
            reference.TemperatureLogitsWarper(value),
            reference.TopKLogitsWarper(k),
            reference.TopPLogitsWarper(p),
        ],
        row,
    )
    ours = warped_by_ours([temperature(value), top_k(k), top_p(p)], row)
    np.testing.assert_allclose(np.sort(ours), np.sort(theirs), 1e-9, 1e-300)


@pytest.mark.parametrize("spread", [0.001, 0.3, 2.5, 8])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.99])
def test_top_p_on_a_vocabulary_as_large_as_qwens(spread, p):
    rng = np.random.default_rng(3)
    # Few float32 are distinct where logits crowd, so the ids are compared in float64.
    row = spread * rng.standard_normal(151_936)
    ours = chain(top_p(p)).warp(row).ids
    scores = reference.TopPLogitsWarper(p)(None, torch.from_numpy(row)[None])[0].numpy()
    assert np.array_equal(ours, np.flatnonzero(scores > -np.inf))


@pytest.mark.parametrize("k", [1, 20, 50, 1186, 1187, 5000, 151_936])
def test_top_k_on_a_vocabulary_as_large_as_qwens(k):
    row = np.random.default_rng(3).standard_normal(151_936).astype(np.float32)
    ours = chain(top_k(k)).warp(row).ids
    scores = reference.TopKLogitsWarper(k)(None, torch.from_numpy(row)[None])[0].numpy()
    assert np.array_equal(ours, np.flatnonzero(scores > -np.inf))
