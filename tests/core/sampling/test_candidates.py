"""Candidates shrink, keep their order, and leave what they came from alone."""

import numpy as np
import pytest

from triptych.core.sampling import Candidates


def test_a_row_becomes_all_ids_in_order():
    candidates = Candidates.of_row(np.array([0.5, -1, 2], np.float32))
    assert candidates.ids.tolist() == [0, 1, 2]
    assert candidates.ids.dtype == np.int64
    assert candidates.logits.tolist() == [0.5, -1, 2]
    assert len(candidates) == 3


def test_a_row_cannot_be_written_through_its_candidates():
    row = np.zeros(4, np.float32)
    candidates = Candidates.of_row(row)
    with pytest.raises(ValueError, match="read-only"):
        candidates.logits[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        candidates.ids[0] = 1
    row[0] = 1


def test_keep_drops_what_the_mask_denies():
    kept = Candidates([3, 5, 8], [1.0, 2.0, 3.0]).keep([True, False, True])
    assert kept.ids.tolist() == [3, 8]
    assert kept.logits.tolist() == [1, 3]


def test_keeping_all_copies_nothing():
    candidates = Candidates([3, 5], [1.0, 2.0])
    assert candidates.keep([True, True]) is candidates


@pytest.mark.parametrize("mask", [[True], [[True, True]], [0, 1], [1.0, 0.0]])
def test_keep_refuses_what_is_not_one_bool_per_candidate(mask):
    with pytest.raises(ValueError, match=r"one bool per candidate, \[2\]"):
        Candidates([3, 5], [1.0, 2.0]).keep(mask)


@pytest.mark.parametrize(
    ("ids", "logits"), [([1, 2], [1.0]), ([[1]], [[1.0]]), (1, 1.0), ([1], [[1.0]])]
)
def test_ids_and_logits_are_two_vectors_of_one_length(ids, logits):
    with pytest.raises(ValueError, match="as many ids as logits"):
        Candidates(ids, logits)


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int64, np.float64),
    ],
)
def test_logits_are_held_as_float32_or_float64(given, held):
    assert Candidates([0], np.array([1], given)).logits.dtype == held


def test_probabilities_are_the_softmax():
    odds = np.array([1, 2, 5], np.float64)
    assert Candidates([4, 6, 9], np.log(odds)).probabilities() == pytest.approx(odds / 8)


def test_probabilities_of_large_logits_neither_overflow_nor_vanish():
    logits = np.array([3e38, 3e38, -3e38], np.float32)
    assert Candidates([0, 1, 2], logits).probabilities().tolist() == [0.5, 0.5, 0]


def test_probabilities_keep_float64_precision_on_float32_logits():
    logits = np.array([0, 1], np.float32)
    expected = 1 / (1 + np.exp(np.float64(-1)))
    assert Candidates([0, 1], logits).probabilities()[1] == pytest.approx(expected, rel=1e-15)
