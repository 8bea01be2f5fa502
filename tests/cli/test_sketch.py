"""The verbs without a PIPELINE, which are about the built-in model."""

import json
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[2] / "examples" / "images"


def test_the_first_command_a_person_types_gives_a_true_answer(triptych):
    done = triptych("run", "--text", "What is the capital of France?")
    assert (done.code, done.out, done.err) == (0, "Paris\n", "")


def test_it_sees_the_colour_of_a_circle(triptych):
    done = triptych(
        "run", "--image", IMAGES / "circle.png", "--text", "What color is the circle?",
        "--no-sample", "--json",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["finish_reason"] == "eos"
    assert found["usage"]["image_tokens"] > 0
    assert "red" in found["text"].lower()


def test_show_makes_a_file_that_runs_from_anywhere(triptych, in_folder):
    (in_folder / "my.yaml").write_text(triptych("show").out, encoding="utf-8")
    assert "root: sketch\n" in (in_folder / "my.yaml").read_text(encoding="utf-8")
    done = triptych("run", "my.yaml", "--text", "What is the capital of France?")
    assert (done.code, done.out, done.err) == (0, "Paris\n", "")


def test_chat_sees_the_picture_too(triptych):
    asked = f"/image '{IMAGES / 'circle.png'}'\nWhat color is the circle?\n"
    done = triptych("chat", stdin=asked)
    assert done.code == 0
    assert "red" in done.out.lower()


@pytest.mark.parametrize("verb", ["check", "show", "doctor"])
def test_the_verbs_without_a_pipeline_are_about_it(triptych, verb):
    done = triptych(verb)
    assert (done.code, done.err) == (0, "")
