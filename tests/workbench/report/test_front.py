"""The Pareto front."""

import re

from tests.workbench.synthetic import EXACT, SPEED, made
from triptych.workbench.report.plots.drawing import short
from triptych.workbench.report.plots.pareto import front, pareto
from triptych.workbench.statistics import compare


def test_whoever_is_beaten_in_both_is_behind():
    assert front([(1, 5), (2, 4), (1, 4), (5, 1), (4, 1), (2, 4)]) == [0, 1, 3, 5]


def test_one_that_is_best_in_both_is_alone():
    assert front([(1, 1), (2, 2), (0, 3), (2, 3)]) == [3]


def test_long_names_lose_their_middle():
    assert short("a" * 10, 10) == "a" * 10
    assert short("top_k=20, then top_p=0.9, then temperature=0.7", 20) == "top_k=20, th…ure=0.7"


def test_every_point_has_its_number_however_many_there_are():
    effects = {f"an arm that is the {number}th": -number / 60 for number in range(24)}
    speeds = {arm: 50 + 20 * effect for arm, effect in effects.items()}
    results = made(effects, items=30, speeds=speeds, pictures=False)
    drawn = pareto(compare(results, resamples=9), list(effects), EXACT, SPEED)
    labels = re.findall(r">(\d+)(?: an [^<]*)?</text>", drawn)
    assert set(map(str, range(24))) <= set(labels)
