"""Arms of which the truth is known."""

import gc
from dataclasses import replace

import numpy as np
import pytest

from tests.workbench.synthetic import EXACT, made
from triptych.workbench.results import Arm, Question, Results, Run, ScoreKind
from triptych.workbench.statistics import UnknownArm, based_on, compare

QUICK = {"resamples": 99}


def sweep(scores, **changes):
    """Results of arms by name: values by item, each a list of draws; the first arm is the base."""
    items = sorted({item for values in scores.values() for item in values})
    runs = [
        Run(arm, item, seed, text="", scores={"exact_match": value})
        for arm, values in scores.items()
        for item, drawn in values.items()
        for seed, value in enumerate(drawn)
        if value is not None
    ]
    arms = tuple(Arm(name) for name in scores)
    questions = tuple(Question(item, "?", "!") for item in items)
    return replace(Results(arms, (EXACT,), questions, tuple(runs)), **changes)


def test_a_known_effect_is_found_and_none_is_not():
    effects = {"base": 0.0, "worse": -0.25, "none": 0.0, "better": 0.2}
    comparison = compare(made(effects, items=300, seeds=3), **QUICK)
    verdicts = {
        arm: comparison.difference(arm, "exact_match").verdict
        for arm in effects
        if arm in ("worse", "none", "better")
    }
    assert verdicts == {"worse": "worse", "none": "unsure", "better": "better"}
    for arm in verdicts:
        found = comparison.difference(arm, "exact_match").estimate
        assert found.mean == pytest.approx(effects[arm], abs=0.06)
        assert (found.items, found.clusters) == (300, 100)


def test_the_memory_of_one_process_is_one_draw_whatever_it_answered():
    memory = ScoreKind("peak", "peak_memory", measures="memory", lower_is_better=True)
    random = np.random.default_rng(0)
    questions = tuple(Question(f"{number}", "?", "!", task="one") for number in range(40))
    runs = tuple(
        Run(arm, question.id, 0, text="", scores={"peak": process + random.normal(0, 0.1)})
        for arm, process in (("base", 128.0), ("twin", 129.2))
        for question in questions
    )
    comparison = compare(Results((Arm("base"), Arm("twin")), (memory,), questions, runs), **QUICK)
    found = comparison.difference("twin", "peak")
    assert found.estimate.mean == pytest.approx(1.2, abs=0.1)
    assert (found.estimate.low, found.p, found.corrected, found.bootstrap) == (None,) * 4
    assert found.verdict == "unsure"
    assert comparison.level("twin", "peak").estimate.low is None


def test_sweeps_without_an_effect_are_false_alarms_as_often_as_alpha_says(monkeypatch):
    # Holm's correction in statsmodels ends with one; hundreds take half a minute.
    monkeypatch.setattr(gc, "collect", lambda: 0)
    alarms, raw = 0, 0
    for seed in range(300):
        arms = dict.fromkeys(("base", "a", "b", "c", "d"), 0.0)
        results = made(arms, items=40, per_cluster=2, seeds=1, seed=seed, pictures=False)
        questions = tuple(replace(question, task=None) for question in results.questions)
        comparison = compare(replace(results, questions=questions), resamples=9)
        alarms += any(difference.corrected < 0.05 for difference in comparison.differences)
        raw += sum(difference.p < 0.05 for difference in comparison.differences)
    assert raw / 1200 == pytest.approx(0.05, abs=0.02)
    assert alarms / 300 == pytest.approx(0.05, abs=0.03)


def test_corrections_are_holms():
    comparison = compare(made({"base": 0, "a": 0.2, "b": 0.1, "c": 0.05}, items=90), **QUICK)
    overall = [d for d in comparison.differences if d.task is None]
    ranked = sorted(overall, key=lambda difference: difference.p)
    expected = np.maximum.accumulate([(3 - rank) * d.p for rank, d in enumerate(ranked)])
    assert [d.corrected for d in ranked] == pytest.approx(np.minimum(expected, 1))


def test_times_and_tasks_are_families_of_their_own():
    effects, speeds = {"base": 0, "a": 0.1, "b": 0.0}, {"base": 50, "a": 50.2, "b": 49.9}
    both = compare(made(effects, speeds=speeds), **QUICK)
    quality = replace(made(effects, speeds=speeds), scores=(EXACT,))
    alone = compare(
        replace(
            quality, questions=tuple(replace(question, task=None) for question in quality.questions)
        ),
        **QUICK,
    )
    for arm in ("a", "b"):
        expected = alone.difference(arm, "exact_match").corrected
        assert both.difference(arm, "exact_match").corrected == expected


def test_seeds_are_averaged_within_their_question():
    results = sweep(
        {
            "base": {"x": [0, 0], "y": [1, 0], "z": [1, 1]},
            "arm": {"x": [1, 0], "y": [1, 1], "z": [1, 1]},
        }
    )
    found = compare(results, **QUICK).difference("arm", "exact_match")
    # Differences by question: 1/2, 1/2, 0.
    assert found.estimate.mean == pytest.approx(1 / 3)
    assert found.estimate.standard_error == pytest.approx(1 / 6)
    assert found.estimate.items == 3
    assert found.differing == 2


def test_only_draws_that_both_answered_are_compared():
    results = sweep(
        {
            "base": {"x": [0, 1], "y": [1, 1], "z": [0, 0], "w": [None, 1]},
            "arm": {"x": [1, None], "y": [1, 1], "z": [1, 1], "w": [1, None]},
        }
    )
    found = compare(results, **QUICK).difference("arm", "exact_match")
    # x by its first draw alone; w has no draw in common.
    assert found.estimate.mean == pytest.approx(2 / 3)
    assert (found.estimate.items, found.unpaired) == (3, 1)


def test_failures_are_counted_and_nowhere_wrong():
    results = made({"base": 0, "arm": 0}, failing={("arm", 3), ("arm", 4)})
    comparison = compare(results, **QUICK)
    assert comparison.failures == {"arm": 4}
    assert comparison.level("arm", "exact_match").estimate.items == 58
    assert comparison.difference("arm", "exact_match").unpaired == 2


def test_variance_is_told_apart_between_questions_and_within_them():
    random = np.random.default_rng(1)
    means = random.normal(0, 0.5, 2000)
    values = {f"{i:04}": (mean + random.normal(0, 2, 4)).tolist() for i, mean in enumerate(means)}
    level = compare(sweep({"base": values}), **QUICK).level("base", "exact_match")
    assert level.spread.between == pytest.approx(0.25, abs=0.15)
    assert level.spread.within == pytest.approx(4, rel=0.05)
    # Both are in the error of the mean: (0.25 + 4 / 4) / 2000.
    assert level.estimate.standard_error == pytest.approx((1.25 / 2000) ** 0.5, rel=0.05)


def test_one_draw_cannot_tell_what_is_within():
    level = compare(sweep({"base": {"x": [0], "y": [1]}}), **QUICK).level("base", "exact_match")
    assert level.spread.within is None


def test_tasks_are_compared_by_themselves():
    results = made({"base": 0, "arm": -0.3}, items=90)
    comparison = compare(results, **QUICK)
    parts = [comparison.difference("arm", "exact_match", t) for t in ("count", "color", "position")]
    assert [part.estimate.items for part in parts] == [30, 30, 30]
    whole = comparison.difference("arm", "exact_match").estimate.mean
    assert np.mean([part.estimate.mean for part in parts]) == pytest.approx(whole)


def test_arms_that_say_the_same_are_the_same():
    values = {"x": [1], "y": [0], "z": [1]}
    found = compare(sweep({"base": values, "arm": values}), **QUICK).difference(
        "arm", "exact_match"
    )
    assert (found.verdict, found.p, found.smallest) == ("same", 1, None)
    assert found.bootstrap == (0, 0)


def test_less_may_be_better():
    values = {str(item): [2.0 + item / 100] for item in range(20)}
    lower = {item: [value - 1 - int(item) / 50] for item, (value,) in values.items()}
    results = sweep({"base": values, "arm": lower})
    score = replace(EXACT, lower_is_better=True)
    found = compare(replace(results, scores=(score,)), **QUICK).difference("arm", "exact_match")
    assert found.verdict == "better"
    assert found.mcnemar is None


def test_a_score_that_the_base_lacks_has_levels_only():
    results = made({"base": 0, "arm": 0}, items=12)
    runs = tuple(
        replace(run, scores={"kl": 0.5 + int(run.item[-3:]) / 9}) if run.arm == "arm" else run
        for run in results.runs
    )
    results = replace(results, runs=runs, scores=(ScoreKind("kl", "kl", lower_is_better=True),))
    comparison = compare(results, **QUICK)
    assert comparison.differences == ()
    assert {level.arm for level in comparison.levels} == {"arm"}


def test_all_right_is_not_certain():
    values = {str(item): [1.0] for item in range(20)}
    found = compare(sweep({"base": values}), **QUICK).level("base", "exact_match").estimate
    # Wilson's lower limit for 20 of 20.
    assert (found.low, found.high) == (pytest.approx(0.8389, abs=1e-4), pytest.approx(1))


def test_shares_cover_what_they_claim_and_stay_within_0_and_1():
    random = np.random.default_rng(5)
    inside = 0
    for _ in range(400):
        chances = np.repeat(random.beta(9, 1, 20), 2)
        drawn = (random.random(40) < chances).astype(float)
        results = sweep({"base": {f"{i:02}": [value] for i, value in enumerate(drawn)}})
        questions = tuple(
            replace(question, cluster=str(i // 2)) for i, question in enumerate(results.questions)
        )
        comparison = compare(replace(results, questions=questions), resamples=9)
        found = comparison.level("base", "exact_match").estimate
        assert 0 <= found.low <= found.high <= 1
        inside += found.low <= 0.9 <= found.high
    assert inside / 400 == pytest.approx(0.95, abs=0.025)


def test_the_same_results_in_any_order_give_the_same_comparison():
    results = made({"base": 0, "arm": 0.1}, speeds={"base": 9, "arm": 8})
    assert compare(results) == compare(replace(results, runs=results.runs[::-1]))


def test_any_arm_may_be_the_base():
    results = made({"base": 0, "a": 0.2, "b": -0.1})
    forth = compare(based_on(results, "a"), **QUICK)
    back = compare(results, **QUICK)
    assert forth.base == "a"
    assert [d.arm for d in forth.differences if d.task is None] == ["base", "b"]
    assert forth.difference("base", "exact_match").estimate.mean == pytest.approx(
        -back.difference("a", "exact_match").estimate.mean
    )
    with pytest.raises(UnknownArm, match="no arm is called 'c'; there are 'base', 'a', 'b'"):
        based_on(results, "c")


@pytest.mark.parametrize("kept", [0, 1, 5, 130])
def test_a_sweep_that_has_just_begun_can_be_compared(kept):
    results = made({"base": 0, "arm": 0.1})
    comparison = compare(replace(results, runs=results.runs[:kept]), **QUICK)
    assert comparison.base == "base"
