"""VQA v2's accuracy; expected values by hand, after the challenge's definition."""

from itertools import combinations

import pytest

from triptych import Item, Request
from triptych.plugins.metrics.vqa_accuracy import VQAAccuracy
from triptych.plugins.metrics.vqa_words import normalized
from triptych.testing import answer


def score(references, text):
    return VQAAccuracy()(Item("one", Request("?"), references), answer(text))["vqa_accuracy"]


@pytest.mark.parametrize("same", range(10))
def test_it_is_the_mean_over_all_nine_of_ten_people(same):
    people = ["red"] * same + ["blue"] * (10 - same)
    by_hand = [min(nine.count("red") / 3, 1) for nine in combinations(people, 9)]
    assert score(people, "red") == pytest.approx(sum(by_hand) / 10)


@pytest.mark.parametrize(
    ("same", "published"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1)]
)
def test_it_grows_by_three_tenths_with_each_person(same, published):
    assert score(["red"] * same + ["blue"] * (10 - same), "red") == pytest.approx(published)


def test_a_single_text_is_matched():
    assert score("A cat", "cat!") == 1
    assert score("A cat", "dog") == 0


def test_answers_stay_as_they_are_where_all_people_agree():
    assert score(["yes"] * 10, "yes") == 1
    assert score(["yes"] * 10, "Yes.") == 0
    assert score([*["yes"] * 9, "no"], "Yes.") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat", "cat"),
        ("two dogs", "2 dogs"),
        ("None", "0"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("black, white", "black white"),
        ("1,000", "1000"),
        ("1,000 (about)", "1000 about"),
        ("left-handed", "left handed"),
        ("on -the- left", "on left"),
        ("yes.", "yes"),
        ("2.5", "2.5"),
        ("U.S.A", "usa"),
        ("dont know", "don't know"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("yall'd've", "y'all'd've"),
        ("it's", "it's"),
        ("shes", "shes"),
    ],
)
def test_normalisation_is_that_of_the_evaluation_script(text, expected):
    assert normalized(text) == expected
