"""How numbers are spelled."""

import pytest

from triptych.workbench.report.numbers import (
    MINUS,
    NOTHING,
    chance,
    decimals_for,
    plain,
    signed,
    span,
)


@pytest.mark.parametrize(
    ("values", "decimals"),
    [
        ([0.842, 0.1], 3),
        ([1.5], 3),
        ([57.1, 3.0], 2),
        ([12_345.0], 0),
        ([0.00031], 6),
        ([], 3),
        ([0.0], 3),
    ],
)
def test_the_largest_value_says_how_many_decimals(values, decimals):
    assert decimals_for(values) == decimals


def test_signs_are_shown_but_for_nothing():
    assert [signed(value, 2) for value in (0.5, -0.5, 0.0, -0.001)] == [
        "+0.50",
        f"{MINUS}0.50",
        "0.00",
        "0.00",
    ]


def test_thousands_are_set_apart_and_none_is_a_dash():
    assert plain(12345.6, 0) == "12,346"
    assert plain(None, 3) == span(None, 1.0, 3) == chance(None) == NOTHING


@pytest.mark.parametrize(
    ("p", "text"), [(0.9, "0.900"), (0.0123, "0.012"), (0.00123, "0.0012"), (1e-9, "< 0.0001")]
)
def test_small_chances_keep_their_figures(p, text):
    assert chance(p) == text
