"""Ratios of what was measured in turn, and fractions of the floor."""

import pytest

from triptych.bench.floor import Limits
from triptych.bench.measurement import Measure, Result


def test_a_ratio_above_one_means_faster_or_smaller():
    decode = Result(Measure("decode", "decode at 32", "tokens/s"))
    decode.values = {"own": [60.0, 80.0, 50.0], "peer": [30.0, 40.0, 50.0]}
    ratio = decode.ratio("own", "peer")
    assert (ratio.median, ratio.least, ratio.most) == (2.0, 1.0, 2.0)
    load = Result(Measure("load", "load", "s"), {"own": [1.0], "peer": [3.0]})
    assert load.ratio("own", "peer").median == 3.0


def test_pairs_count_and_not_medians():
    # Both grew twice as slow in the second round; side by side nothing changed.
    result = Result(Measure("prefill", "prefill 512", "s"))
    result.values = {"own": [1.0, 2.0, 1.0], "peer": [1.5, 3.0, 1.5]}
    ratio = result.ratio("own", "peer")
    assert (ratio.least, ratio.most) == (1.5, 1.5)


def test_without_values_there_is_no_ratio():
    result = Result(Measure("vision", "vision 64x64", "s"), {"own": [1.0]})
    assert result.ratio("own", "peer") is None
    assert result.spread("peer") is None


def test_the_fraction_of_a_floor_is_that_of_its_speed():
    slow = Result(Measure("prefill", "prefill 512", "s"), {"own": [4.0]}, floor=1.0)
    assert slow.fraction("own") == 0.25
    rate = Result(Measure("decode", "decode at 32", "tokens/s"), {"own": [30.0]}, floor=120.0)
    assert rate.fraction("own") == 0.25
    assert slow.fraction("peer") is None


def test_the_best_of_two_looks_at_a_machine_counts():
    best = Limits(1.0, 5.0, 3.0).best(Limits(2.0, 4.0, 3.0))
    assert best == Limits(2.0, 5.0, 3.0)


def test_needs_take_the_longer_of_reading_and_computing():
    from triptych.bench.counting import Need
    from triptych.bench.operations import Operations

    limits = Limits(bandwidth=100.0, float32=10.0, int8=40.0)
    both = Operations(float32=20, int8=40)
    assert Need(500, both).least_seconds(limits) == pytest.approx(5.0)
    assert Need(100, both).least_seconds(limits) == pytest.approx(20 / 10 + 40 / 40)
