"""What is said of an ablation."""

from dataclasses import replace

import pytest

from tests.workbench.synthetic import made
from triptych.workbench.report.compose import changes_of, compose
from triptych.workbench.report.numbers import MINUS, NOTHING
from triptych.workbench.statistics import compare


@pytest.fixture(scope="module")
def report(results):
    return compose(results, compare(results, resamples=99))


def cells(table, arm):
    """By the names of the columns."""
    (row,) = [row for row in table.rows if arm in row.cells[:2]]
    return dict(zip(table.header, row.cells, strict=True))


def test_findings_name_who_is_worse_and_better_and_what_would_have_shown(report):
    quality, speed = report.findings
    assert [verdict for verdict, _ in quality.told] == ["worse", "better", "unsure"]
    assert quality.told[0][1].startswith(f"Worse: hot by {MINUS}0.")
    assert quality.told[1][1].startswith("Better: min_p by +0.")
    assert "1 other arm; a true one of 0." in quality.told[2][1]
    assert "hot by +" in speed.text


def test_a_difference_that_cannot_be_is_not_said_to_be_findable():
    few = made({"base": 0.0, "warm": -0.1}, items=4, per_cluster=2, seeds=1, seed=4)
    (quality,) = compose(few, compare(few, resamples=99)).findings
    ((verdict, text),) = quality.told
    assert (verdict, text[-28:]) == ("unsure", "there is too little to tell.")


def test_facts_count_clusters_draws_and_failures(report):
    assert report.facts == (
        "120 questions",
        "in 40 clusters",
        "2 draws of each answer",
        "960 runs",
        "4 failed",
    )


def test_rows_have_intervals_and_both_p_values(report):
    row = cells(report.scores[0], "hot")
    assert row["difference"].startswith(f"{MINUS}0.")
    assert row["difference"].endswith("▼")
    assert " to " in row["bootstrap"]
    assert row["p"] == row["p (Holm)"] == "< 0.0001"
    assert float(row["detectable"]) > 0
    assert row["questions"] == "118 in 40"


def test_the_base_has_nothing_to_differ_from(report):
    assert cells(report.scores[0], "base")["p (Holm)"] == NOTHING


def test_arms_say_what_differs_and_how_many_runs_failed(report):
    row = cells(report.arms, "hot")
    assert (row["what differs"], row["runs"], row["failed"]) == (
        "sampler.temperature: -0.35",
        "240",
        "4",
    )


def test_failures_are_told_apart_by_their_message(report):
    assert [row.cells for row in report.failures.rows] == [("hot", "InputError: no picture", "4")]


def test_tasks_have_the_difference_beside_the_mean(report):
    (table,) = report.tasks
    assert table.header == ("arm", "count (40)", "color (40)", "position (40)")
    assert "▼)" in cells(table, "hot")["color (40)"]


def test_the_method_names_the_correction_and_the_variant(report):
    method = " ".join(report.method)
    assert "corrected by Holm" in method
    assert "Obuchowski" in method
    assert "chance in sampling" in method


def test_few_clusters_are_remarked():
    results = made({"base": 0, "arm": 0.1}, items=24, per_cluster=2, seeds=1)
    assert "only 12 clusters" in " ".join(compose(results, compare(results)).method)


def test_questions_by_themselves_have_the_exact_test():
    results = made({"base": 0, "arm": 0.1}, items=30, seeds=1)
    alone = tuple(replace(question, cluster=None) for question in results.questions)
    results = replace(results, questions=alone)
    report = compose(results, compare(results, resamples=99))
    assert "McNemar's test is the exact one." in report.method
    assert "question by question: 30 questions." in report.scores[0].note


def test_changes_read_as_yaml_would_have_them():
    changes = {"sampler.top_p": 0.9, "sampler": ["draw", {"top_k": 5}], "precision": "int4"}
    assert changes_of(changes) == (
        "sampler.top_p: 0.9; sampler: [draw, {top_k: 5}]; precision: int4"
    )
