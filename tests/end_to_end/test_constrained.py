"""What sketch says under a JSON Schema is valid, however it is sampled."""

import json
from random import Random

import jsonschema
import pytest

import triptych
from triptych import Request
from triptych.models.sketch.conversations import draw_scene
from triptych.models.sketch.palette import COLORS
from triptych.models.sketch.shapes import SHAPES

pytest.importorskip("llguidance")

OBJECT = {
    "type": "object",
    "properties": {
        "color": {"enum": list(COLORS)},
        "shape": {"enum": list(SHAPES)},
        "position": {"type": "string", "pattern": "^[a-z]{1,8}( [a-z]{1,8})?$"},
    },
    "required": ["color", "shape", "position"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "objects": {"type": "array", "items": OBJECT, "minItems": 1, "maxItems": 5},
        "background": {"enum": list(COLORS)},
    },
    "required": ["objects", "background"],
    "additionalProperties": False,
}
CHAINS = {
    "greedy": ["greedy"],
    "hot": [{"temperature": 2.0}, "draw"],
}


@pytest.fixture(scope="module")
def sketch():
    return triptych.load()


def replies(pipe, count, chain, *, constrained=True):
    """What is said of so many pictures of shapes, one after the other."""
    steps = [{"constrain": {"json_schema": SCHEMA}}] if constrained else []
    for index in range(count):
        random = Random(f"constrained {index}")
        scene = draw_scene("shapes", (96, 96), random)
        settings = {"sampler": [*steps, *CHAINS[chain]], "seed": index, "max_new_tokens": 400}
        yield pipe.generate(
            Request("Describe this image as JSON.", images=[scene.image], settings=settings)
        )


def is_valid(text):
    try:
        jsonschema.validate(json.loads(text), SCHEMA)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


@pytest.mark.parametrize("chain", CHAINS)
def test_constrained_descriptions_are_always_valid(sketch, chain):
    for reply in replies(sketch, 25, chain):
        assert reply.finish_reason == "eos"
        assert is_valid(reply.text), reply.text


def test_heat_alone_breaks_the_form(sketch):
    valid = sum(is_valid(reply.text) for reply in replies(sketch, 8, "hot", constrained=False))
    assert valid < 4
