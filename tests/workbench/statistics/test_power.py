"""The smallest effect that a set of questions can be expected to show."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from triptych.workbench.statistics import smallest_effect
from triptych.workbench.statistics.estimate import standard_error
from triptych.workbench.statistics.power import WITHIN, detectable


def test_969_questions_show_3_points_as_in_millers_example():
    assert smallest_effect(range(969)) == pytest.approx(0.03, abs=1e-4)


def test_draws_shrink_only_their_own_part():
    one = smallest_effect(range(5000), draws=1, within=2 * WITHIN)
    four = smallest_effect(range(5000), draws=4, within=2 * WITHIN)
    assert four / one == pytest.approx(((1 / 9 + 1 / 12) / (1 / 9 + 1 / 3)) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("clusters", [2, 3, 10, 500])
def test_known_errors_give_what_statsmodels_gives(clusters):
    theirs = TTestPower().solve_power(None, nobs=clusters, alpha=0.05, power=0.8)
    ours = detectable(1.0, clusters, alpha=0.05, power=0.8)
    assert ours == pytest.approx(theirs * clusters**0.5, rel=1e-3)


def test_it_is_found_with_the_power_that_it_claims_clusters_included():
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(30), np.tile([1, 3, 6, 2, 8], 6))
    effect = smallest_effect(labels.tolist(), between=1.0, alike=0.4)
    shared = random.normal(0, 0.4**0.5, (4000, 30))[:, labels]
    values = effect + shared + random.normal(0, 0.6**0.5, (4000, len(labels)))
    statistics = np.abs(values.mean(axis=1)) / standard_error(values, labels)
    found = (statistics > stats.t.ppf(0.975, 29)).mean()
    assert found == pytest.approx(0.8, abs=0.03)


def test_more_comparisons_need_larger_effects():
    assert smallest_effect(range(100), comparisons=8) > smallest_effect(range(100))


def test_one_cluster_shows_nothing():
    assert smallest_effect(["picture"] * 50) is None
