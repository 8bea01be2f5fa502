"""F1 of JSON fields; expected values by hand."""

import pytest

from triptych import InputError, Item, Request
from triptych.plugins.metrics.json_fields import JSONFields
from triptych.testing import answer

SCENE = '{"objects": [{"color": "red"}, {"color": "blue"}], "background": "white"}'


def score(reference, text, **settings):
    metric = JSONFields(JSONFields.Settings(**settings))
    return metric(Item("one", Request("?"), reference), answer(text))


@pytest.mark.parametrize(
    ("reference", "text", "f1"),
    [
        ({"a": 1, "b": "x"}, '{"b": "x", "a": 1}', 1),
        ({"a": 1, "b": "x"}, '{"a": 1}', 2 / 3),
        ({"a": 1, "b": "x"}, '{"a": 2, "b": "x", "c": 3}', 2 / 5),
        ({"a": 1}, '{"a": "1"}', 1),
        ({"a": 1}, '```json\n{"a": 1}\n```', 1),
        ({"a": " x"}, '{"a": "x "}', 1),
        ({"a": True}, '{"a": true}', 1),
        ({"a": None}, '{"a": false}', 0),
        ({"a": {"b": 1}}, '{"b": 1}', 0),
        ([], "{}", 1),
        ("[1, 1, 2]", "[1, 2]", 4 / 5),
        (SCENE, SCENE.replace("red", "green"), 2 / 3),
        (SCENE, '{"objects": [{"color": "blue"}, {"color": "red"}], "background": "white"}', 1),
    ],
)
def test_fields_are_counted(reference, text, f1):
    assert score(reference, text) == {"json_fields": pytest.approx(f1), "json_valid": 1}


def test_places_in_lists_count_where_it_is_said():
    turned = '{"objects": [{"color": "blue"}, {"color": "red"}], "background": "white"}'
    assert score(SCENE, turned, lists="ordered")["json_fields"] == pytest.approx(1 / 3)
    assert score(SCENE, SCENE, lists="ordered")["json_fields"] == 1


@pytest.mark.parametrize("text", ["", "a red circle", '{"a": 1', "``` ```", "[" * 100_000])
def test_what_is_no_json_has_no_fields(text):
    assert score({"a": 1}, text) == {"json_fields": 0, "json_valid": 0}


def test_a_reference_that_is_no_json_is_refused():
    with pytest.raises(InputError, match="item 'one': the reference is no JSON"):
        score("red", "red")
