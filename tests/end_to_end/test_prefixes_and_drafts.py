"""Shared prefixes and drafts change no token of the built-in model, in fp32 and in int4."""

import threading
from pathlib import Path

import numpy as np
import pytest

import triptych
from triptych import Request
from triptych.export import export_checkpoint

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "examples" / "images").glob("*.png"))[:2]
PLAIN = {"session.prefix_cache": False}
SAMPLED = {"temperature": 1.2, "top_p": 0.95}
QUESTIONS = [
    "Describe the image.",
    "How many shapes are there?",
    "Describe the image.",
    "What is at the top left?",
    "List the shapes as JSON.",
]
NEW_TOKENS = 24


@pytest.fixture(scope="module")
def int4(tmp_path_factory):
    """sketch with int4 weights."""
    folder = tmp_path_factory.mktemp("int4") / "sketch"
    return export_checkpoint(ROOT / "checkpoints" / "sketch", folder, precision="int4")


@pytest.fixture(params=["fp32", "int4"])
def source(request):
    return "sketch" if request.param == "fp32" else request.getfixturevalue("int4")


def requests():
    """Questions about two pictures, greedy and drawn, in an order that shares much."""
    return [
        Request(
            question,
            images=[picture],
            settings={"seed": number, "max_new_tokens": NEW_TOKENS, **(SAMPLED if drawn else {})},
        )
        for drawn in (False, True)
        for picture in PICTURES
        for number, question in enumerate(QUESTIONS)
    ]


def test_prefixes_change_no_token_one_after_the_other_and_together(source):
    plain = triptych.load(source, overrides=PLAIN)
    expected = [plain.generate(one).tokens for one in requests()]
    assert len(set(expected)) > 6
    pipe = triptych.load(source)
    replies = [pipe.generate(one) for one in requests()]
    assert [reply.tokens for reply in replies] == expected
    assert sum(reply.usage.cached_tokens > 10 for reply in replies) >= 16
    together = triptych.load(source)
    replies = together.generate_batch(requests())
    assert [reply.tokens for reply in replies] == expected
    assert sum(reply.usage.cached_tokens > 0 for reply in replies) >= 12


def test_threads_that_share_prefixes_get_the_tokens_they_get_alone(source):
    pipe, plain = triptych.load(source), triptych.load(source, overrides=PLAIN)
    asked = requests()[::3]
    found = {}

    def ask(number):
        found[number] = pipe.generate(asked[number]).tokens

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(asked))] == [
        plain.generate(one).tokens for one in asked
    ]


def test_turns_of_chats_side_by_side_equal_those_without_a_prefix_cache(source):
    talks = []
    for overrides in ({}, PLAIN):
        pipe = triptych.load(source, overrides=overrides)
        chats = [pipe.chat(), pipe.chat()]
        tokens = []
        for question in QUESTIONS[:3]:
            for chat, picture in zip(chats, PICTURES, strict=True):
                images = [picture] if not chat.messages else []
                tokens.append(chat.send(question, images=images, max_new_tokens=12).tokens)
        talks.append(tokens)
    assert talks[0] == talks[1]


def test_prompt_lookup_changes_no_token_of_answers_about_pictures(source):
    plain = triptych.load(source, overrides=PLAIN)
    lookup = triptych.load(source, overrides={"strategy": {"prompt_lookup": {"cost": 0}}})
    for one in requests():
        assert lookup.generate(one).tokens == plain.generate(one).tokens
    replies = lookup.generate_batch(requests(), concurrency=3)
    assert [reply.tokens for reply in replies] == [plain.generate(one).tokens for one in requests()]


@pytest.mark.parametrize("small", ["sketch", "int4"])
def test_a_second_model_drafts_what_sketch_says(small, int4):
    drafting = {"pipeline": str(int4) if small == "int4" else small, "cost": 0}
    overrides = {**PLAIN, "strategy": {"draft": drafting}}
    drafted = triptych.load("sketch", overrides=overrides, allow_outside=True)
    plain = triptych.load("sketch", overrides=PLAIN)
    rows = []
    forward = drafted._executor.forward
    drafted._executor.forward = lambda sequence, stop, count, clock: (
        rows.append(count) or forward(sequence, stop, count, clock)
    )
    tokens = 0
    for one in requests():
        reply = drafted.generate(one)
        assert reply.tokens == plain.generate(one).tokens
        tokens += len(reply.tokens)
    assert len(rows) < tokens / (2.4 if small == "sketch" else 1.5)
    assert np.mean(rows) > 3
