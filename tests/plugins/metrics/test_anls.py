"""ANLS; expected values by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych import Item, Request
from triptych.plugins.metrics.anls import ANLS, distance
from triptych.testing import answer


def score(reference, text, **settings):
    metric = ANLS(ANLS.Settings(**settings))
    return metric(Item("one", Request("?"), reference), answer(text))["anls"]


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [("kitten", "sitting", 3), ("flaw", "lawn", 2), ("", "abc", 3), ("abc", "abc", 0)],
)
def test_known_distances(one, other, edits):
    assert distance(one, other) == distance(other, one) == edits


@given(st.text("ab", max_size=6), st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_a_distance_is_one(one, two, three):
    assert (distance(one, two) == 0) == (one == two)
    assert distance(one, three) <= distance(one, two) + distance(two, three)
    assert abs(len(one) - len(two)) <= distance(one, two) <= max(len(one), len(two))


@pytest.mark.parametrize(
    ("reference", "text", "expected"),
    [
        ("Hello World", "hello  world ", 1),
        ("kitten", "sitting", 4 / 7),
        ("abcd", "abxy", 0.5),
        ("abcd", "axyz", 0),
        (["12 May", "May 12"], "may 12", 1),
        ("", "", 1),
        ("three", "", 0),
    ],
)
def test_nearly_right_counts_in_part_above_one_half(reference, text, expected):
    assert score(reference, text) == pytest.approx(expected)


def test_the_threshold_is_a_setting():
    assert score("abcd", "axyz", threshold=0.25) == 0.25
    assert score("kitten", "sitting", threshold=0.6) == 0
