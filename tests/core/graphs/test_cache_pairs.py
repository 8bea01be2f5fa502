"""Past and present tensors are paired by their names, and shared or grown by their lengths."""

import pytest

from triptych.core.graphs.cache_pairs import CacheTensors
from triptych.core.ports import Port


def port(name, *axes):
    return Port(name, "float32", axes or ("B", 2, "past", 8))


def pairs(inputs, outputs, **more):
    found = CacheTensors(**more).pairs([port(name) for name in inputs], [port(n) for n in outputs])
    return [(pair.past.name, pair.present.name, pair.layer, pair.part) for pair in found]


@pytest.mark.parametrize(
    ("past", "present"),
    [
        ("past_key_values.7.value", "present.7.value"),
        ("past_value_7", "present_value_7"),
        ("past.7.value", "present.7.value"),
        ("past_key_values_7_value", "present_key_values_7_value"),
        ("past_key_value.7.v", "present_key_value.7.v"),
        ("past_values_7", "present.7.value"),
    ],
)
def test_usual_names_are_paired(past, present):
    other = [name.replace("7", "12") for name in (past, present)]
    found = pairs([past, "attention_mask", other[0]], ["logits", other[1], present])
    assert found == [(past, present, 7, "value"), (*other, 12, "value")]


@pytest.mark.parametrize(
    "past",
    ["past_key_values.3.conv_state", "past_3", "past_key_values.3.encoder.key", "past_key_values"],
)
def test_what_is_no_key_or_value_is_none(past):
    assert pairs([past], [past.replace("past_key_values", "present")]) == []


def test_a_past_that_no_output_extends_is_none():
    assert pairs(["past.0.key"], ["present.0.value", "present.1.key"]) == []


def test_other_names_are_told():
    names = {"k_in.%d": "k_out.%d", "v_in.%d": "v_out.%d"}
    found = pairs(["k_in.1", "v_in.1", "kxin.1"], ["k_out.1", "v_out.1", "kxout.1"], names=names)
    assert [one[:3] for one in found] == [("k_in.1", "k_out.1", 1), ("v_in.1", "v_out.1", 1)]


def test_numbers_that_the_graph_lacks_are_told_and_its_own_are_kept():
    past = port("past.0.key", "B", "heads", "past", 8)
    (pair,) = CacheTensors(heads=4, head_size=99).pairs([past], [port("present.0.key")])
    assert pair.past.axes == ("B", 4, "past", 8)


@pytest.mark.parametrize(
    ("past", "present", "grows"),
    [
        ("max_len", "max_len", False),
        ("past_sequence_length", "total_sequence_length", True),
        (4096, 4096, False),
        ("axis_2", "axis_2", True),
    ],
)
def test_lengths_of_one_name_are_one_buffer(past, present, grows):
    one = port("past.0.key", "B", 2, past, 8), port("present.0.key", "B", 2, present, 8)
    found = CacheTensors().pairs([one[0]], [one[1]])
    assert CacheTensors().grow(found) == grows
    assert CacheTensors("growing").grow(found)
    assert not CacheTensors("shared").grow(found)
