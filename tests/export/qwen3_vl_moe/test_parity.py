"""A model with experts computes what transformers computes, on checkpoints of several shapes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.export.reference import Prompt
from tests.export.test_parity import STEPS, assert_close, greedy, prefill, step
from triptych import Request

WIDE, TALL = (4, 14, 2), (12, 2, 3)
PICTURES = {"text": [], "one": [(6, 8)], "two": [(4, 4), (2, 6)]}


def test_the_checkpoint_is_one_that_transformers_knows(model):
    for fault in "missing_keys", "unexpected_keys", "mismatched_keys":
        assert not model.reference.report[fault]


def test_the_features_of_images_are_those_of_transformers(model):
    random = np.random.default_rng(1)
    sizes = [(4, 6), (10, 2)]
    patches = sum(height * width for height, width in sizes)
    pixels = random.uniform(-1, 1, [patches, 1536]).astype(np.float32)
    grids = np.array([(1, *size) for size in sizes])
    for actual, expected in zip(
        model.graphs.vision(pixels, grids), model.reference.vision(pixels, grids), strict=True
    ):
        assert_close(actual, expected)


@pytest.mark.parametrize("pictures", PICTURES)
def test_the_logits_of_a_prompt_are_those_of_transformers(model, pictures):
    prompt = model.reference.prompt(np.random.default_rng(4), PICTURES[pictures], 7)
    assert_close(prefill(model, prompt, model.graphs.cache()), model.reference.logits(prompt))


@pytest.mark.parametrize("pictures", PICTURES)
def test_each_greedy_step_has_the_logits_of_transformers(model, pictures):
    prompt = model.reference.prompt(np.random.default_rng(5), PICTURES[pictures], 5)
    expected_tokens, expected_logits = model.reference.greedy(prompt, STEPS)
    tokens, logits = greedy(model, prompt, STEPS)
    assert tokens == expected_tokens
    assert_close(logits, expected_logits)


@pytest.mark.parametrize("images", [[], [WIDE], [WIDE, TALL]], ids=list(PICTURES))
def test_a_pipeline_says_the_sixty_four_tokens_of_transformers(model, images):
    request = Request("1 2 3", images=images)
    reply = model.pipe.generate(request)
    assert reply.tokens == model.greedy(request)
    assert len(reply.tokens) == 64


def test_replies_vary_enough_to_prove_something(models):
    request = Request("1 2 3", images=[WIDE])
    names = "two of eight experts", "six of thirty-two, the last layer dense"
    assert min(len(set(models(name).greedy(request))) for name in names) > 6


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_a_prompt_in_chunks_gives_the_logits_of_one_pass(model, chunk):
    prompt = model.reference.prompt(np.random.default_rng(7), [(4, 6), (4, 4)], 6)
    whole = prefill(model, prompt, model.graphs.cache())
    lengths = [chunk] * (len(prompt) // chunk)
    if rest := len(prompt) % chunk:
        lengths.append(rest)
    assert_close(prefill(model, prompt, model.graphs.cache(), lengths), whole, 1e-5)


def test_a_batch_padded_on_the_right_gives_each_row_its_own_logits(model):
    """Also in the step after. Padding goes through experts, too, and must move nobody."""
    random = np.random.default_rng(9)
    lengths = [3, 8, 5]
    ids = [random.integers(0, 80, length + 1) for length in lengths]
    padded = np.zeros([3, 8], np.int64)
    for row, own in enumerate(ids):
        padded[row, : lengths[row]] = own[:-1]
    pool = model.graphs.cache(rows=3)
    first = pool.forward(
        model.graphs.embed(padded),
        np.broadcast_to(np.arange(8), (3, 3, 8)),
        lengths,
        wanted=[[length - 1] for length in lengths],
    )
    second = step(
        model, pool, [int(own[-1]) for own in ids], lengths, [length + 1 for length in lengths]
    )
    for row, own in enumerate(ids):
        expected = model.reference.logits(Prompt(own, None, None))
        assert_close(first[row, 0], expected[-2])
        assert_close(second[row], expected[-1])


def test_wanted_rows_may_be_several_and_in_any_order(model):
    """The last layer's experts see the wanted rows alone."""
    prompt = Prompt(np.arange(12), None, None)
    wanted = [11, 0, 5]
    logits = model.graphs.cache().forward(
        model.graphs.embed(prompt.ids[None]),
        np.broadcast_to(np.arange(12), (3, 1, 12)),
        [12],
        wanted=[wanted],
    )
    assert_close(logits[0], model.reference.logits(prompt)[wanted])
