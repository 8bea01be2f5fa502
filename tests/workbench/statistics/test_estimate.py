"""Means over clusters of questions: their errors, intervals and p values."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from triptych.workbench.statistics.estimate import estimate, p_value, standard_error

ALPHA = 0.05


def clustered(random, *, sims, sizes, alike):
    """Scores [sims, n] with mean 0, and their clusters [n]; `alike`: correlation within one."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    shared = random.normal(0, alike**0.5, (sims, len(sizes)))[:, labels]
    return shared + random.normal(0, (1 - alike) ** 0.5, (sims, len(labels))), labels


def covered(values, clusters):
    """How often the interval of the mean has the truth, 0, in it."""
    errors = standard_error(values, clusters)
    reach = errors * stats.t.ppf(1 - ALPHA / 2, len(np.unique(clusters)) - 1)
    return (np.abs(values.mean(axis=1)) <= reach).mean()


def test_errors_and_intervals_are_those_of_statsmodels_with_clusters():
    random = np.random.default_rng(1)
    values, labels = clustered(random, sims=1, sizes=[1, 7, 3, 3, 5, 2, 9, 4], alike=0.5)
    shuffled = random.permutation(len(labels))
    values, labels = values[0][shuffled] + 0.4, labels[shuffled]
    theirs = OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": labels}, use_t=True
    )
    found = estimate(values, labels, alpha=ALPHA)
    assert found.standard_error == pytest.approx(theirs.bse[0])
    assert (found.low, found.high) == pytest.approx(tuple(theirs.conf_int()[0]))
    assert p_value(found) == pytest.approx(theirs.pvalues[0])
    assert (found.items, found.clusters) == (34, 8)


def test_questions_by_themselves_have_the_paired_t_test():
    random = np.random.default_rng(2)
    base = random.normal(0, 1, 25)
    arm = base + random.normal(0.3, 0.5, 25)
    found = estimate(arm - base, np.arange(25), alpha=0.1)
    theirs = stats.ttest_rel(arm, base)
    assert p_value(found) == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def test_ignoring_clusters_covers_75_percent_where_95_are_claimed():
    values, labels = clustered(np.random.default_rng(3), sims=4000, sizes=[5] * 60, alike=0.475)
    assert covered(values, np.arange(len(labels))) == pytest.approx(0.75, abs=0.02)
    assert covered(values, labels) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("sizes", "alike"),
    [([1] * 200, 0.0), ([4] * 20, 0.8), ([1, 2, 3, 4, 5, 6] * 8, 0.5), ([3] * 100, 0.0)],
    ids=["no clusters", "few clusters", "unequal clusters", "independent within clusters"],
)
def test_intervals_cover_what_they_claim(sizes, alike):
    values, labels = clustered(np.random.default_rng(4), sims=4000, sizes=sizes, alike=alike)
    assert covered(values, labels) == pytest.approx(0.95, abs=0.015)


def test_clusters_that_all_agree_are_judged_by_their_signs():
    found = estimate(np.full(6, 0.1), np.array([0, 0, 1, 1, 2, 3]), alpha=ALPHA)
    assert found.standard_error == 0
    assert p_value(found) == pytest.approx(2 * 0.5**4)


def test_no_difference_at_all_has_p_1():
    assert p_value(estimate(np.zeros(5), np.arange(5), alpha=ALPHA)) == 1


def test_one_cluster_says_nothing_of_spread():
    found = estimate(np.array([0.0, 1.0, 1.0]), np.zeros(3, np.int64), alpha=ALPHA)
    assert found.mean == pytest.approx(2 / 3)
    assert (found.standard_error, found.low, found.high, p_value(found)) == (None,) * 4
