"""Bootstrap intervals: whole clusters, the same ones each time."""

import numpy as np
import pytest

from triptych.workbench.statistics.bootstrap import bootstrap_interval
from triptych.workbench.statistics.estimate import estimate


def test_it_agrees_with_the_t_interval_where_that_is_right():
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(150), 4)
    values = random.normal(0, 1, 150)[labels] + random.normal(0, 1, 600)
    found = estimate(values, labels, alpha=0.05)
    interval = bootstrap_interval(values, labels, alpha=0.05)
    assert interval == pytest.approx((found.low, found.high), abs=0.1 * found.standard_error)


def test_it_covers_what_it_claims_on_clustered_right_and_wrong():
    random = np.random.default_rng(2)
    labels = np.repeat(np.arange(50), 4)
    inside = alone = 0
    for _ in range(300):
        chances = random.beta(1, 1, 50)[labels]
        values = (random.random(200) < chances).astype(float)
        low, high = bootstrap_interval(values, labels, alpha=0.05, resamples=599)
        inside += low <= 0.5 <= high
        low, high = bootstrap_interval(values, np.arange(200), alpha=0.05, resamples=599)
        alone += low <= 0.5 <= high
    assert inside / 300 == pytest.approx(0.95, abs=0.03)
    assert alone / 300 < 0.87


def test_the_same_values_have_the_same_interval():
    values = np.random.default_rng(3).normal(0, 1, 40)
    first, second = (bootstrap_interval(values, np.arange(40), alpha=0.05) for _ in range(2))
    assert first == second


def test_values_that_do_not_vary_are_their_own_interval():
    assert bootstrap_interval(np.full(5, 0.25), np.arange(5), alpha=0.05) == (0.25, 0.25)


@pytest.mark.parametrize("clusters", [[0, 0, 0], [0, 0, 1]], ids=["one cluster", "no spread"])
def test_too_little_to_draw_from_has_none(clusters):
    values = np.array([0.0, 1.0, 0.5])
    assert bootstrap_interval(values, np.array(clusters), alpha=0.05) is None
