"""YAML is read with places, in bounds, and never with anything but a ConfigError."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.core.config.nodes import LARGEST
from triptych.core.config.reader import read_yaml
from triptych.core.config_error import ConfigError, Where


def read(text):
    return read_yaml(text, "p.yaml")


def test_every_value_and_key_knows_its_line_and_column():
    node = read("a: 1\nlist:\n  - x\n  - {inner: 2}\n")
    assert node.where == Where("p.yaml", 1, 1)
    assert node.keys["list"] == Where("p.yaml", 2, 1)
    element = node.child("list").child(1)
    assert element.keys["inner"] == Where("p.yaml", 4, 6)
    assert element.child("inner").where == Where("p.yaml", 4, 13, "list[1].inner")


def test_scalars_are_those_of_yaml_1_2():
    text = "[true, True, yes, on, 010, 0o10, 0x1F, 1e-5, .5, .inf, ~, null, '1', 2001-01-01, 1:30]"
    assert read(text).plain() == [
        *[True, True, "yes", "on", 10, 8, 31, 1e-5, 0.5, math.inf, None, None, "1"],
        *["2001-01-01", "1:30"],
    ]


def test_a_byte_order_mark_is_not_part_of_the_first_key():
    assert read("\ufeffa: 1".encode()).plain() == {"a": 1}


def test_an_alias_repeats_its_anchors_value():
    assert read("a: &x {k: [1]}\nb: *x").plain() == {"a": {"k": [1]}, "b": {"k": [1]}}


def test_nothing_but_comments_is_no_document():
    assert read("# a comment\n") is None
    assert read("") is None


def test_aliases_cannot_nest_deeper_than_brackets_may():
    chain = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{y: *a{i - 1}}}\n" for i in range(1, 60))
    with pytest.raises(ConfigError, match="levels deep"):
        read(chain)


def test_a_file_that_is_too_large_is_not_parsed():
    with pytest.raises(ConfigError, match=r"is too large: 1,000,001 bytes"):
        read_yaml(b"#" * (LARGEST + 1), "p.yaml")


def test_a_number_of_five_thousand_digits_is_refused():
    with pytest.raises(ConfigError, match="is not a number"):
        read("a: " + "9" * 5000)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused_with_a_place(data):
    assert refusal(data) is None or refusal(data).line is not None


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%@`#,\n \t01.<~", max_size=60))
def test_any_punctuation_is_read_or_refused_with_a_place(text):
    assert refusal(text) is None or refusal(text).line is not None


def refusal(data):
    try:
        read(data)
    except ConfigError as error:
        return error
    return None
