"""Exact match."""

import pytest

from triptych import InputError, Item, Request
from triptych.plugins.metrics.exact_match import ExactMatch
from triptych.testing import answer


def score(reference, text):
    return ExactMatch()(Item("one", Request("?"), reference), answer(text))["exact_match"]


@pytest.mark.parametrize(
    ("reference", "text", "right"),
    [
        ("red", "red", 1),
        ("red", " red\n", 1),
        ("red", "Red", 0),
        ("red", "red.", 0),
        ("red", "", 0),
        (["grey", "gray"], "gray", 1),
        (["grey", "gray"], "grey or gray", 0),
        (3, "3", 1),
        (True, "true", 1),
    ],
)
def test_an_answer_counts_to_the_letter(reference, text, right):
    assert score(reference, text) == right


@pytest.mark.parametrize("reference", [None, {"a": 1}, [], ["a", None]])
def test_a_reference_that_is_no_text_is_refused(reference):
    with pytest.raises(InputError, match=r"item 'one': the reference .* is neither"):
        score(reference, "red")
