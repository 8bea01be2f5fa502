"""Medians, and the interval of order statistics that holds the true one."""

import pytest

from triptych.bench.spread import confidence, spread_of


def test_confidence_is_that_of_the_sign_test():
    # All five on one side of the median: twice (1/2)^5.
    assert confidence(5, 1) == pytest.approx(1 - 2 / 32)
    # None or one of nine on one side: twice (1 + 9) / 512.
    assert confidence(9, 2) == pytest.approx(1 - 20 / 512)


def test_five_values_need_their_whole_range():
    found = spread_of([3.0, 1.0, 5.0, 2.0, 4.0])
    assert (found.median, found.low, found.high) == (3.0, 1.0, 5.0)
    assert found.confidence == pytest.approx(0.9375)


def test_nine_values_spare_their_extremes():
    found = spread_of([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0])
    assert (found.least, found.low, found.median, found.high, found.most) == (1, 2, 5, 8, 9)
    assert found.confidence >= 0.9


def test_one_value_is_an_interval_without_confidence():
    found = spread_of([2.5])
    assert (found.low, found.high, found.confidence, found.count) == (2.5, 2.5, 0.0, 1)
