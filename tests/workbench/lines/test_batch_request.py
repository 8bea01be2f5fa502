"""A line as what a worker is asked."""

import json
from pathlib import Path

import pytest

from triptych import Request
from triptych.workbench.lines.batch_request import BatchRequest, Reading, seed_of
from triptych.workbench.lines.source import Line


@pytest.fixture
def reading():
    return Reading(Path("/data"), {"max_new_tokens": 9}, seed=5)


def question(reading, number=3, **document):
    return reading.request(Line(number, json.dumps(document).encode(), 0))


def test_a_line_asks_with_the_settings_of_the_command(reading):
    assert question(reading, text="Hi", images=["a.png"], id="x") == BatchRequest(
        3,
        Request(
            "Hi",
            images=["/data/a.png"],
            videos=[],
            settings={"max_new_tokens": 9, "seed": seed_of(5, 3)},
            id="x",
        ),
        id="x",
    )


def test_a_lines_own_settings_count_more(reading):
    found = question(reading, text="Hi", settings={"max_new_tokens": 2, "seed": 0})
    assert found.request.settings == {"max_new_tokens": 2, "seed": 0}


def test_a_seed_of_null_is_none(reading):
    found = question(reading, text="Hi", settings={"seed": None})
    assert found.request.settings["seed"] == seed_of(5, 3)


def test_every_line_has_another_seed_and_every_seed_of_the_command_others():
    seeds = {seed_of(seed, line) for seed in range(10) for line in range(1, 1001)}
    assert len(seeds) == 10_000
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_seeds_stay_from_release_to_release():
    # printf '%s' '0 1' | sha256sum
    assert seed_of(0, 1) == 0x5CC3A655


@pytest.mark.parametrize(
    ("content", "error", "name"),
    [
        (b"{", "the line is not JSON: ", None),
        (None, "the line has more than 268,435,456 bytes; name pictures", None),
        (b'{"txt": 1, "id": "x"}', "there is no field 'txt'; did you mean 'text'?", "x"),
        (b'{"text": "?", "id": ["x"]}', "id must be text or a whole number", None),
    ],
)
def test_a_bad_line_is_a_question_that_says_why(reading, content, error, name):
    found = reading.request(Line(8, content, 0))
    assert (found.line, found.request, found.id) == (8, None, name)
    assert found.error.startswith(error)
