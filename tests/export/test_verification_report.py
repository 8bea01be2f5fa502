"""What verify reports: numbers per stage as JSON can hold them, and a page that stands alone."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from triptych.export.verification.comparison import Check, Compared, Kind, check, worst
from triptych.export.verification.page import page
from triptych.export.verification.result import Verification
from triptych.export.verification.tolerances import between, of_logits
from triptych.export.verification.words import in_words


def compared(actual, expected, kind=Kind.VALUES, **more):
    actual = None if actual is None else np.array(actual)
    return Compared("decoder", "logits", "a case", actual, np.array(expected), kind, **more)


def measured(**changes):
    values = {"stage": "decoder", "port": "logits", "case": "one", "absolute": 1.0}
    return Check(**{**values, "relative": 0.5, "tolerance": 1.0, **changes})


@pytest.mark.parametrize(
    ("actual", "expected", "relative"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.0, 1.0], [0.0, 0.0], 1.0),
        ([1.0], [1.0, 2.0], float("inf")),
        ([np.nan, 1.0], [1.0, 1.0], float("inf")),
        (None, [1.0], float("inf")),
        ([[1, 2], [3, 4]], [[1, 2], [3, 5]], 0.25),
    ],
)
def test_errors_are_relative_to_the_largest_expected_value(actual, expected, relative):
    assert check(compared(actual, expected), 1e-4).relative == relative


def test_the_cosine_is_that_of_the_two_as_vectors():
    assert check(compared([[3.0, 0.0]], [[3.0, 4.0]]), 1.0).cosine == pytest.approx(0.6)


def test_integers_agree_exactly_whatever_the_tolerance():
    found = check(compared([1, 2, 3], [1, 2, 4]), 1.0)
    assert (found.absolute, found.tolerance, found.passed) == (1.0, 0.0, False)


def test_logits_are_compared_as_distributions():
    """The first row has the probabilities 1/2, 1/2 and becomes 3/4, 1/4; the second is the same."""
    expected = np.log([[0.5, 0.5], [0.9, 0.1]])
    actual = np.log([[0.75, 0.25], [0.9, 0.1]]) + 7
    found = check(compared(actual, expected, Kind.LOGITS), 100.0)
    assert found.kl_max == pytest.approx(0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    assert found.kl_mean == pytest.approx(found.kl_max / 2)
    assert (found.top1, found.rows) == (1.0, 2)


def test_the_winner_of_a_row_may_change():
    found = check(compared([[1.0, 2.0], [5.0, 1.0]], [[2.0, 1.0], [5.0, 1.0]], Kind.LOGITS), 1.0)
    assert found.top1 == 0.5


def test_tokens_say_which_is_the_first_other_one():
    found = check(compared([4, 5, 6, 7], [4, 5, 9, 7], Kind.TOKENS), 1.0)
    assert (found.first_divergent, found.passed) == (2, False)


def test_tokens_after_a_tie_do_not_count_and_are_told():
    found = check(compared([4, 5], [4, 6], Kind.TOKENS, counted=1, note="a tie"), 1.0)
    assert (found.first_divergent, found.passed) == (1, True)
    (said,) = in_words(Check(**{**vars(found), "port": "greedy tokens"}))
    assert said == "greedy tokens: number 2 is the first other one: a tie"


def test_the_worst_case_stands_for_a_port():
    found = worst(
        [
            measured(case="small", relative=0.1, rows=1, kl_mean=0.2, kl_max=0.2, top1=1.0),
            measured(case="large", relative=0.9, rows=3, kl_mean=0.6, kl_max=0.8, top1=0.0),
        ]
    )
    assert (found.case, found.relative, found.kl_max, found.rows) == ("large", 0.9, 0.8, 4)
    assert (found.kl_mean, found.top1) == (pytest.approx(0.5), 0.25)


def test_an_error_that_is_no_number_is_the_worst():
    found = worst([measured(relative=float("inf")), measured(case="odd", relative=float("nan"))])
    assert (found.case, found.passed) == ("odd", False)


@pytest.fixture
def found():
    """A verification of three stages, the second of which fails."""
    checks = (
        measured(stage="vision_encoder", port="image_features", relative=1e-6, tolerance=1e-4),
        measured(stage="merge", port="deepstack_embeds", relative=float("inf"), note="no <stage>"),
        measured(rows=2, kl_mean=1e-3, kl_max=2e-3, top1=0.5, carried=0.7, case="text"),
        measured(rows=2, kl_mean=1e-3, kl_max=2e-3, top1=0.5, relative=0.2, case="picture"),
    )
    return Verification(Path("an & export"), Path("it"), "qwen3_vl", "fp32", checks, ("a note",))


def test_json_has_the_cases_of_each_port(found):
    said = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert (said["passed"], said["first_failure"], said["notes"]) == (False, "merge", ["a note"])
    assert [check["port"] for check in said["checks"]] == [
        "image_features",
        "deepstack_embeds",
        "logits",
    ]
    assert said["checks"][1]["relative"] == "Infinity"
    logits = said["checks"][2]
    assert (logits["kl_mean"], logits["top1"], logits["passed"]) == (1e-3, 0.5, True)
    assert [case["case"] for case in logits["cases"]] == ["text", "picture"]


class Tags(HTMLParser):
    """The tags of a page, and whether each that must be closed is."""

    EMPTY = frozenset({"meta", "br"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_has_a_bar_for_each_stage(found):
    tags = Tags(page(found))
    assert tags.open == []
    bars = [attrs for tag, attrs in tags.tags if tag == "rect" and "data-stage" in attrs]
    assert [(bar["data-stage"], bar["class"]) for bar in bars] == [
        ("vision_encoder", "bar good"),
        ("merge", "bar bad"),
        ("decoder", "bar good"),
    ]
    widths = [float(bar["width"]) for bar in bars]
    assert widths[0] < widths[2] < widths[1]


def test_the_page_says_the_verdict_and_escapes_what_it_quotes(found):
    tags = Tags(page(found))
    assert "First stage that differs: merge" in tags.text
    assert "an & export" in tags.text
    assert "no <stage>" in tags.text
    assert "KL 0.001 nats a token" in tags.text


def test_the_page_refers_to_nothing_outside(found):
    text = page(found)
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img|src=|href=", text)


def test_the_page_follows_light_and_dark(found):
    assert "prefers-color-scheme: dark" in page(found)


@pytest.mark.parametrize(
    ("forms", "tolerance"),
    [
        (({"fp32"}, {"fp32"}), 1e-4),
        (({"int4", "int8"}, {"int8", "int4"}), 1e-4),
        (({"fp16"}, {"fp32"}), 1e-2),
        (({"int8"}, {"int4", "int8"}), 0.6),
        (({"unknown"}, {"unknown"}), 1e-2),
    ],
)
def test_between_two_pipelines_the_coarsest_weights_decide(forms, tolerance):
    assert between(*forms) == tolerance


def test_a_rounded_cache_widens_what_logits_may_differ_by():
    assert of_logits(1e-4, "fp32", "fp32") == 1e-4
    assert of_logits(1e-4, "fp32", "int8") == 0.1
    assert of_logits(0.6, "int8") == 0.6
