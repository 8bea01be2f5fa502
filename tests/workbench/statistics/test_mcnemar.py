"""McNemar's test, exact and for clusters."""

import numpy as np
import pytest
from scipy import stats

from triptych.workbench.statistics.mcnemar import mcnemar_of


def column(wins, losses, ties):
    return np.array([1.0] * wins + [-1.0] * losses + [0.0] * ties)[:, None]


def test_single_questions_have_the_binomial_test():
    found = mcnemar_of(column(15, 5, 80), np.arange(100))
    assert (found.wins, found.losses, found.variant) == (15, 5, "exact")
    assert found.p == pytest.approx(stats.binomtest(15, 20).pvalue)


def test_clusters_have_obuchowskis_statistic():
    # Sums by cluster: 2, 1, 0, -1; so (2)^2 / (4/3 * (4 + 1 + 0 + 1)) = 4 / 8.
    differences = np.array([1.0, 1.0, 1.0, 0.0, 1.0, -1.0, -1.0])[:, None]
    found = mcnemar_of(differences, np.array([0, 0, 1, 1, 2, 2, 3]))
    assert (found.wins, found.losses, found.variant) == (4, 2, "clustered")
    assert found.p == pytest.approx(stats.chi2.sf(0.5, 1))


def test_draws_of_one_question_are_averaged_first():
    # Means: 1, 0.5, -0.5; the third has one draw less. (1)^2 / (3/2 * 1.5) = 1 / 2.25.
    differences = np.array([[1.0, 1.0], [1.0, 0.0], [-0.5, np.nan]])
    found = mcnemar_of(differences, np.arange(3))
    assert found.variant == "clustered"
    assert found.p == pytest.approx(stats.chi2.sf(1 / 2.25, 1))


def test_nothing_differs_has_p_1():
    assert mcnemar_of(column(0, 0, 9), np.arange(9)).p == 1
    assert mcnemar_of(column(0, 0, 9), np.arange(9) // 3).p == 1


def test_one_cluster_has_none():
    assert mcnemar_of(column(3, 1, 2), np.zeros(6, np.int64)) is None


def test_only_the_clustered_one_keeps_its_promise_on_clusters():
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(150), 4)
    exact = clustered = 0
    for _ in range(600):
        signs = random.choice([-1.0, 1.0], 150)[labels]
        kept = (random.random(600) < 0.8) * (random.random(150) < 0.4)[labels]
        flips = np.where(random.random(600) < 0.1, -1.0, 1.0)
        differences = (signs * flips * kept)[:, None]
        clustered += mcnemar_of(differences, labels).p < 0.05
        exact += mcnemar_of(differences, np.arange(600)).p < 0.05
    assert clustered / 600 == pytest.approx(0.05, abs=0.02)
    assert exact / 600 > 0.15
