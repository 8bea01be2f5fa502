"""Pruned visual tokens through the built-in model: identities, chats, drafts, beams, batches."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import triptych
from triptych import Request

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "examples" / "images").glob("*.png"))[:3]
QUESTIONS = ("Describe this image.", "How many shapes are there?", "What is at the top left?")
REDUCERS = ("token_random", "token_grid", "token_norm", "token_merge", "evs")
PRUNERS = REDUCERS[:-1]
NEW_TOKENS = 24


@cache
def pipeline(*reducers, strategy=None, **session):
    """sketch with these reducers; nothing is kept between requests unless `session` says so."""
    overrides = {
        f"session.{key}": value for key, value in {"prefix_cache": False, **session}.items()
    }
    if strategy is not None:
        overrides["strategy"] = strategy
    insert = []
    for number, reducer in enumerate(reducers):
        before = "mrope" if number == 0 else f"r{number - 1}"
        name, ratio = reducer
        insert.append(f"after {before}: {{{name}: {{ratio: {ratio}}}, as: r{number}}}")
    return triptych.load(insert=insert, overrides=overrides)


def said(pipe, **settings):
    """The tokens for each question about each picture, and about two at once."""
    return [pipe.generate(one, **settings).tokens for one in requests()]


def requests():
    about = [(question, [picture]) for picture in PICTURES[:2] for question in QUESTIONS[:2]]
    about.append((QUESTIONS[1], PICTURES[:2]))
    return [
        Request(text, images=images, settings={"max_new_tokens": NEW_TOKENS})
        for text, images in about
    ]


@pytest.mark.parametrize("name", REDUCERS)
def test_a_reducer_that_keeps_all_gives_the_very_tokens_of_the_plain_pipeline(name):
    assert said(pipeline((name, 1.0))) == said(pipeline())


def test_half_of_the_rows_changes_what_is_said_or_not_but_is_the_same_every_time():
    for name in PRUNERS:
        pipe = pipeline((name, 0.5))
        [features, whole] = [
            one.run_until("image_features", "Hi", images=PICTURES[:2]) for one in (pipe, pipeline())
        ]
        assert len(features) < 0.6 * len(whole)
        assert said(pipe) == said(pipe)


def test_reducers_may_follow_each_other():
    both = pipeline(("token_norm", 0.5), ("token_merge", 0.5))
    count = len(pipeline().run_until("image_features", "Hi", images=PICTURES[:1]))
    left = len(both.run_until("image_features", "Hi", images=PICTURES[:1]))
    assert left == math.ceil(math.ceil(count / 2) / 2)
    assert said(pipeline(("token_norm", 0.5), ("token_merge", 1.0))) == said(
        pipeline(("token_norm", 0.5))
    )


@pytest.mark.parametrize("name", PRUNERS)
def test_an_image_keeps_the_same_rows_alone_and_in_company(name):
    pipe = pipeline((name, 0.4))
    alone = [pipe.run_until("image_features", "Hi", images=[picture]) for picture in PICTURES]
    together = pipe.run_until("image_features", "Hi", images=PICTURES)
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-4)


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruned_chat_with_a_new_image_in_a_later_turn_equals_a_fresh_run(name):
    pipe = pipeline((name, 0.5))
    chat = pipe.chat(max_new_tokens=NEW_TOKENS)
    chat.send(QUESTIONS[0], images=[PICTURES[0]])
    chat.send(QUESTIONS[1])
    last = chat.send(QUESTIONS[0], images=[PICTURES[1]])
    assert last.usage.cached_tokens > 0, "or nothing was gone on with"
    fresh = triptych.Pipeline(pipe.spec).generate(
        messages=chat.messages[:-1], max_new_tokens=NEW_TOKENS
    )
    assert last.tokens == fresh.tokens


@pytest.mark.parametrize("name", ["token_norm", "token_merge"])
@pytest.mark.parametrize("chunk", [None, 5])
def test_prefixes_change_no_token_of_pruned_prompts(name, chunk):
    session = {} if chunk is None else {"chunk": chunk}
    expected = said(pipeline((name, 0.5)))
    shared = pipeline((name, 0.5), prefix_cache=True, **session)
    first, second = said(shared), said(shared)
    assert first == second == expected
    again = shared.generate(requests()[0])
    assert again.usage.cached_tokens > again.usage.image_tokens > 0


@pytest.mark.parametrize("strategy", ["autoregressive", "prompt_lookup", "beam_search"])
def test_a_reply_says_how_many_visual_tokens_were_kept(strategy):
    asked = triptych.Request("Describe this image.", images=PICTURES[:2])
    pipe = pipeline(("token_norm", 0.25), strategy=strategy, prefix_cache=True)
    kept = len(pipe.run_until("image_features", asked))
    for _ in range(2):
        usage = pipe.generate(asked, max_new_tokens=24).usage
        assert (usage.image_tokens_kept, usage.prompt_tokens > usage.image_tokens) == (kept, True)
    assert kept < 0.3 * usage.image_tokens
    whole = pipeline().generate(asked, max_new_tokens=4).usage
    assert whole.image_tokens_kept == whole.image_tokens == usage.image_tokens
    assert pipe.generate("Hi", max_new_tokens=4).usage.image_tokens_kept == 0


def test_drafts_change_no_token_of_pruned_prompts():
    assert said(pipeline(("token_norm", 0.5), strategy="prompt_lookup")) == said(
        pipeline(("token_norm", 0.5))
    )


def test_beams_run_over_pruned_prompts():
    pruned = pipeline(("token_norm", 0.5), strategy="beam_search")
    whole = pipeline(("token_norm", 1.0), strategy="beam_search")
    assert said(whole) == said(pipeline(strategy="beam_search"))
    assert said(pruned) == said(pruned)


@pytest.mark.parametrize("name", ["token_norm", "token_merge"])
def test_a_batch_of_pruned_prompts_gets_the_tokens_of_each_alone(name):
    pipe = pipeline((name, 0.5))
    assert [reply.tokens for reply in pipe.generate_batch(requests())] == said(pipe)


def test_a_still_video_keeps_its_first_step(tiny_pipeline):
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    still, other = (Image.fromarray(frame) for frame in noise)
    plain = triptych.load(tiny_pipeline)
    for frames, ratio, left in (([still] * 6, 0.01, 4), ([still] * 4 + [other] * 2, 2 / 3, 8)):
        pipe = triptych.load(tiny_pipeline, insert=[f"after mrope: {{evs: {ratio}}}"])
        whole = plain.run_until("image_features", "Hi", videos=[frames])
        kept = pipe.run_until("image_features", "Hi", videos=[frames])
        assert (len(whole), len(kept)) == (12, left)
        np.testing.assert_allclose(kept[:4], whole[:4], atol=1e-5)
        if left == 8:
            np.testing.assert_allclose(kept[4:], whole[8:], atol=1e-5)
        assert pipe.generate("Hi", videos=[frames], max_new_tokens=4).tokens
