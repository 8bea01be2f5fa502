"""The questions that a report shows."""

from dataclasses import replace

from tests.workbench.synthetic import EXACT
from triptych.workbench.report.examples import examples_of
from triptych.workbench.results import Arm, Question, Results, Run


def results(base, arm):
    """Scores by question, a list of draws each."""
    runs = [
        Run(name, str(item), seed, text=f"{name} {seed}", scores={"exact_match": value})
        for name, values in (("base", base), ("arm", arm))
        for item, drawn in enumerate(values)
        for seed, value in enumerate(drawn)
    ]
    questions = tuple(Question(str(item), "?", "!") for item in range(len(base)))
    return Results((Arm("base"), Arm("arm")), (EXACT,), questions, tuple(runs))


def test_the_largest_changes_come_first_and_ties_in_the_order_of_the_data():
    base = [[0.5], [1.0], [1.0], [0.2], [0.0], [0.3]]
    arm = [[0.5], [0.5], [0.0], [0.9], [1.0], [1.0]]
    (found,) = examples_of(results(base, arm), EXACT)
    assert [example.question.id for example in found.worst] == ["2", "1"]
    assert [example.question.id for example in found.best] == ["4", "5", "3"]
    assert (found.hidden, found.total) == (0, 5)


def test_more_than_are_shown_are_counted():
    (found,) = examples_of(results([[1.0]] * 30, [[0.0]] * 30), EXACT, shown=4)
    assert len(found.worst) == 4
    assert (found.hidden, found.total) == (26, 30)


def test_the_draw_that_differs_most_is_shown():
    (found,) = examples_of(results([[1.0, 1.0, 1.0]], [[1.0, 0.0, 1.0]]), EXACT)
    (example,) = found.worst
    assert (example.base.text, example.arm.text) == ("base 1", "arm 1")
    assert example.change == -1 / 3


def test_less_may_be_better():
    score = replace(EXACT, lower_is_better=True)
    (found,) = examples_of(results([[1.0]], [[0.0]]), score)
    assert (len(found.worst), len(found.best)) == (0, 1)


def test_arms_that_differ_nowhere_have_none():
    assert examples_of(results([[1.0]], [[1.0]]), EXACT) == []
