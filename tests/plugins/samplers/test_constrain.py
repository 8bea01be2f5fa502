"""Replies of a given form."""

import contextlib
import json

import numpy as np
import pytest
from pydantic import ValidationError

from tests.plugins.samplers.chains import step
from triptych.core.errors import InputError
from triptych.core.sampling import Chain
from triptych.plugins.samplers.draw import Draw
from triptych.plugins.samplers.greedy import Greedy

pytest.importorskip("llguidance")
tokenizers = pytest.importorskip("tokenizers")

LETTERS = [chr(code) for code in range(32, 127)] + ["ab", "yes", "no"]
END = len(LETTERS)


class Vocabulary:
    """The printable letters, three longer tokens, and an end."""

    eos_ids = frozenset({END})

    def __init__(self):
        # The byte-level alphabet has another sign for the space.
        spelled = [text.replace(" ", "\u0120") for text in LETTERS]
        words = {text: index for index, text in enumerate([*spelled, "<end>"])}
        self.tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(words, [], fuse_unk=False))
        self.tokenizer.decoder = tokenizers.decoders.ByteLevel()
        self.tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.tokenizer.add_special_tokens(["<end>"])
        self.tokenizer_json = self.tokenizer.to_str()

    def encode(self, text):
        return [LETTERS.index(letter) for letter in text]

    def decode(self, tokens):
        return "".join(LETTERS[token] for token in tokens if token != END)


VOCABULARY = Vocabulary()
PADDED = 120
"""More rows than tokens, as models' tables have."""


def chain(seed=0, chooser=None, vocabulary=VOCABULARY, **form):
    return Chain([step("constrain", **form), chooser or Draw()], seed=seed, vocabulary=vocabulary)


def reply(seed=0, limit=300, **form):
    """A reply of random logits, up to the end."""
    one, rng, tokens = chain(seed, **form), np.random.default_rng(seed), []
    while len(tokens) < limit:
        token = one.choose((3 * rng.standard_normal(PADDED)).astype(np.float32))
        if token == END:
            return VOCABULARY.decode(tokens)
        tokens.append(token)
    raise AssertionError(f"no end: {VOCABULARY.decode(tokens)}")


def test_choices():
    assert {reply(seed, choices=["yes", "no", 'say "ab"\\']) for seed in range(40)} == {
        "yes", "no", 'say "ab"\\',
    }  # fmt: skip


def test_a_regular_expression_is_matched_by_the_whole_reply():
    import re

    for seed in range(20):
        assert re.fullmatch(r"[a-c]{2,5}-\d{3}", reply(seed, regex=r"[a-c]{2,5}-\d{3}"))


def test_json_of_a_schema():
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 4},
            "count": {"type": "integer", "minimum": 1, "maximum": 20},
        },
        "required": ["name", "count"],
        "additionalProperties": False,
    }
    for seed in range(20):
        found = json.loads(reply(seed, json_schema=schema))
        assert len(found["name"]) <= 4
        assert 1 <= found["count"] <= 20


def test_a_lark_grammar():
    for seed in range(20):
        text = reply(seed, lark='start: "<" inner ">"\ninner: "x" | "<" inner ">"')
        assert text.count("<") == text.count(">")
        assert text.strip("<>") == "x"


def test_a_draft_is_warped_but_not_followed_until_it_is_accepted():
    one = chain(chooser=Greedy(), choices=["no", "yes"])
    row = np.zeros(PADDED, np.float32)
    first = one.warp(row).ids.tolist()
    assert one.warp(row).ids.tolist() == first
    one.accept(LETTERS.index("n"), one.warp(row))
    assert one.warp(row).ids.tolist() == [LETTERS.index("o")]


def test_a_fork_goes_its_own_way():
    one = chain(chooser=Greedy(), choices=["no", "yes"])
    row = np.zeros(PADDED, np.float32)
    one.accept(LETTERS.index("n"), one.warp(row))
    fork = one.fork()
    fork.accept(LETTERS.index("o"), fork.warp(row))
    assert fork.warp(row).ids.tolist() == [END]
    assert one.warp(row).ids.tolist() == [LETTERS.index("o")]


def test_a_form_that_earlier_steps_left_no_room_for():
    steps = [step("top_k", k=1), step("constrain", choices=["no"]), Greedy()]
    one = Chain(steps, seed=0, vocabulary=VOCABULARY)
    row = np.zeros(PADDED, np.float32)
    row[7] = 1
    with pytest.raises(InputError, match="write it before"):
        one.choose(row)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"regex": "("}, "unclosed"),
        ({"lark": "start: nothing"}, "nothing"),
        ({"json_schema": {"type": "nope"}}, "nope"),
        ({"json_schema": {"$ref": "http://example.org/schema.json"}}, "nothing is fetched"),
        ({"json_schema": {"$ref": "file:///etc/hostname"}}, "nothing is fetched"),
        ({"json_schema": {"$ref": "#/$defs/nobody"}}, "nobody"),
    ],
)
def test_a_form_that_means_nothing_is_refused_when_it_is_built(form, message):
    with pytest.raises(InputError, match=message):
        step("constrain", **form)


def nested(depth):
    schema = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


HOSTILE = {
    "nested, deeper than JSON is read": {"json_schema": nested(200)},
    "nested, deeper than Python goes": {"json_schema": nested(100_000)},
    "a huge enum": {"json_schema": {"enum": [f"value {index}" for index in range(200_000)]}},
    "a counted count": {"regex": "((a{1,1000}b{1,1000}){1,1000}c){1,1000}"},
    "counted classes": {"regex": r"(\w{1,900}\d{1,900}){900}[^a]{5000}"},
    "a long grammar": {"lark": "start: " + " | ".join(f'"{n}x" start' for n in range(100_000))},
    "many alternatives": {"lark": "start: " + " | ".join(f'"{n}x" start' for n in range(9_000))},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_form_ends_in_an_error_or_is_served_within_its_bounds(name):
    """None of them may crash, hang or take the machine's memory."""
    with contextlib.suppress(InputError):
        one = chain(**HOSTILE[name])
        for _ in range(20):
            one.choose(np.zeros(PADDED, np.float32))


FAULTS = [
    ({"regex": "a{3,1}"}, "invalid repetition count range, the start must be <= the end"),
    ({"lark": 'start: "a"\nb c d'}, "line 2, column 3: expected token ':', found 'rule_name'"),
    ({"lark": "start: /(/"}, "line 1, column 8: unclosed group"),
    ({"json_schema": {"$ref": "#/$defs/x"}}, "it refers to '/$defs/x', which is not there"),
    ({"json_schema": {"minimum": "a"}}, "'minimum' cannot be \"a\""),
    ({"json_schema": {"not": True}}, 'what it says by "not" cannot be held to; leave that out'),
    ({"json_schema": nested(200)}, "it is nested too deeply"),
    (
        {"json_schema": {"type": "integer", "minimum": 5, "maximum": 2}},
        "nothing fits it: minimum (5) is greater than maximum (2)",
    ),
]
NAMES = {"regex": "regular expression", "lark": "grammar", "json_schema": "schema"}


@pytest.mark.parametrize(("form", "cause"), FAULTS)
def test_what_is_wrong_with_a_form_is_said_without_the_librarys_words(form, cause):
    with pytest.raises(InputError) as error:
        step("constrain", **form)
    assert str(error.value) == f"the {NAMES[next(iter(form))]} cannot be used: {cause}"


def test_a_form_that_leaves_too_much_open_is_refused_while_it_is_followed():
    one = chain(lark="start: " + " | ".join(f'"{n}x" start' for n in range(3_000)))
    with pytest.raises(InputError) as error:
        one.choose(np.zeros(PADDED, np.float32))
    assert str(error.value) == (
        "constrain: the grammar leaves too many ways open at once: 3001, where 2000 are followed "
        "at most"
    )


def test_schemas_that_refer_to_themselves_end():
    tree = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"const": 1}]}}}
    assert json.loads(reply(json_schema=tree)) == 1


def test_one_form_and_only_one():
    for wrong in ({}, {"regex": "a", "choices": ["b"]}, {"choices": []}):
        with pytest.raises(ValidationError):
            step("constrain", **wrong)


def test_a_processor_that_hides_its_tokenizer():
    class Closed:
        eos_ids = frozenset({1})

        def encode(self, text):
            return [0]

        def decode(self, tokens):
            return ""

    with pytest.raises(InputError, match="tokenizer_json"):
        chain(vocabulary=Closed(), choices=["a"])
