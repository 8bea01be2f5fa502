"""The exported graphs compute what transformers computes, on models of several shapes.

Errors are relative to the largest value of what is compared.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

from tests.export.graphs import Cache
from tests.export.pair import Pair
from tests.export.reference import Prompt
from triptych.export.graphs.rotary import inverse_frequencies

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-4
STEPS = 64

# Heights and widths in patches: tiny, square, wide, tall, odd in merged tokens, beyond the table.
SIZES = [(2, 2), (4, 4), (4, 14), (18, 2), (6, 10), (26, 22), (2, 40)]


def assert_close(actual: Array, expected: Array, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


def prefill(pair: Pair, prompt: Prompt, cache: Cache, chunks: list[int] | None = None) -> Array:
    """Logits [S, V] of the whole prompt, forwarded in chunks of those lengths (default: one)."""
    positions, _ = pair.reference.positions(prompt)
    embeds, deepstack = merged(pair, prompt)
    logits, start = [], 0
    for length in chunks or [len(prompt)]:
        part = slice(start, start + length)
        logits.append(
            cache.forward(
                embeds[:, part],
                positions[:, :, part],
                [start + length],
                deepstack=None if deepstack is None else deepstack[:, :, part],
                wanted=[list(range(length))],
            )[0]
        )
        start += length
    return np.concatenate(logits)


def merged(pair: Pair, prompt: Prompt) -> tuple[Array, Array | None]:
    """Embeddings [1, S, H] with the image rows in place, and DeepStack [K, 1, S, H] if any."""
    embeds = pair.graphs.embed(prompt.ids[None])
    if prompt.pixels is None or prompt.grids is None:
        return embeds, None
    features, deepstack = pair.graphs.vision(prompt.pixels, prompt.grids)
    at = prompt.ids == pair.shape.token("image")
    embeds[0, at] = features
    spread = np.zeros([len(deepstack), *embeds.shape], np.float32)
    spread[:, 0, at] = deepstack
    return embeds, spread


def step(
    pair: Pair, cache: Cache, tokens: list[int], positions: list[int], lengths: list[int]
) -> Array:
    """One token for each row: logits [B, V]."""
    place = np.tile(np.array(positions)[None, :, None], (3, 1, 1))
    embeds = pair.graphs.embed(np.array(tokens)[:, None])
    return cache.forward(embeds, place, lengths)[:, 0]


def greedy(pair: Pair, prompt: Prompt, steps: int) -> tuple[list[int], Array]:
    """Greedy tokens and their logits [steps, V], decoded one by one."""
    cache = pair.graphs.cache()
    rows = [prefill(pair, prompt, cache)[-1]]
    _, free = pair.reference.positions(prompt)
    tokens = [int(rows[0].argmax())]
    while len(tokens) < steps:
        place, length = free + len(tokens) - 1, len(prompt) + len(tokens)
        rows.append(step(pair, cache, tokens[-1:], [place], [length])[0])
        tokens.append(int(rows[-1].argmax()))
    return tokens, np.stack(rows)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_features_of_one_image_are_those_of_transformers(
    pair: Pair, size: tuple[int, int]
) -> None:
    random = np.random.default_rng(1)
    pixels = random.uniform(-1, 1, [size[0] * size[1], 1536]).astype(np.float32)
    grids = np.array([(1, *size)])
    for actual, expected in zip(
        pair.graphs.vision(pixels, grids), pair.reference.vision(pixels, grids), strict=True
    ):
        assert_close(actual, expected)


@pytest.mark.parametrize(
    "sizes", [[(4, 6), (10, 2)], [(2, 2), (12, 8), (4, 14)]], ids=["two", "three"]
)
def test_the_features_of_images_of_mixed_sizes_are_those_of_transformers(
    pair: Pair, sizes: list[tuple[int, int]]
) -> None:
    random = np.random.default_rng(2)
    patches = sum(height * width for height, width in sizes)
    pixels = random.uniform(-1, 1, [patches, 1536]).astype(np.float32)
    grids = np.array([(1, *size) for size in sizes])
    for actual, expected in zip(
        pair.graphs.vision(pixels, grids), pair.reference.vision(pixels, grids), strict=True
    ):
        assert_close(actual, expected)


def test_an_image_has_the_same_features_alone_and_among_others(pair: Pair) -> None:
    random = np.random.default_rng(3)
    sizes = [(4, 6), (8, 4), (2, 10)]
    pixels = [random.uniform(-1, 1, [h * w, 1536]).astype(np.float32) for h, w in sizes]
    together, _ = pair.graphs.vision(
        np.concatenate(pixels), np.array([(1, *size) for size in sizes])
    )
    alone = [
        pair.graphs.vision(part, np.array([(1, *size)]))[0]
        for part, size in zip(pixels, sizes, strict=True)
    ]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize("images", [[], [(4, 6)], [(6, 4), (2, 8)]], ids=["text", "one", "two"])
def test_the_logits_of_a_prompt_are_those_of_transformers(
    pair: Pair, images: list[tuple[int, int]]
) -> None:
    prompt = pair.reference.prompt(np.random.default_rng(4), images, 7)
    assert_close(prefill(pair, prompt, pair.graphs.cache()), pair.reference.logits(prompt))


@pytest.mark.parametrize("images", [[], [(6, 8)], [(4, 4), (2, 6)]], ids=["text", "one", "two"])
def test_greedy_decoding_gives_the_tokens_of_transformers(
    pair: Pair, images: list[tuple[int, int]]
) -> None:
    prompt = pair.reference.prompt(np.random.default_rng(5), images, 5)
    expected_tokens, expected_logits = pair.reference.greedy(prompt, STEPS)
    tokens, logits = greedy(pair, prompt, STEPS)
    assert tokens == expected_tokens
    assert_close(logits, expected_logits)


def test_deepstack_reaches_the_logits(pair: Pair) -> None:
    prompt = pair.reference.prompt(np.random.default_rng(6), [(4, 6)], 7)
    embeds, deepstack = merged(pair, prompt)
    positions, _ = pair.reference.positions(prompt)
    rows = [list(range(len(prompt)))]
    assert deepstack is not None
    for layer in range(len(deepstack)):
        lost = deepstack.copy()
        lost[layer] = 0
        logits = [
            pair.graphs.cache().forward(
                embeds, positions, [len(prompt)], deepstack=given, wanted=rows
            )
            for given in (deepstack, lost)
        ]
        assert np.abs(logits[0] - logits[1]).max() > 0.01 * np.abs(logits[0]).max()


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_a_prompt_in_chunks_gives_the_logits_of_one_pass(pair: Pair, chunk: int) -> None:
    prompt = pair.reference.prompt(np.random.default_rng(7), [(4, 6), (4, 4)], 6)
    whole = prefill(pair, prompt, pair.graphs.cache())
    lengths = [chunk] * (len(prompt) // chunk)
    if rest := len(prompt) % chunk:
        lengths.append(rest)
    assert_close(prefill(pair, prompt, pair.graphs.cache(), lengths), whole, 1e-5)


def test_rows_of_different_lengths_decode_together_as_they_do_alone(pair: Pair) -> None:
    random = np.random.default_rng(8)
    prompts = [pair.reference.prompt(random, images, 4) for images in ([], [(4, 6)], [(2, 4)])]
    alone = [greedy(pair, prompt, 12) for prompt in prompts]
    pool = pair.graphs.cache(rows=3)
    for row, prompt in enumerate(prompts):
        single = pair.graphs.cache()
        prefill(pair, prompt, single)
        for name, buffer in single.buffers.items():
            pool.buffers[name][row] = buffer[0]
    free = [pair.reference.positions(prompt)[1] for prompt in prompts]
    for done in range(1, 12):
        logits = step(
            pair,
            pool,
            [tokens[done - 1] for tokens, _ in alone],
            [place + done - 1 for place in free],
            [len(prompt) + done for prompt in prompts],
        )
        for row, (_, expected) in enumerate(alone):
            assert_close(logits[row], expected[done], 1e-6)


def test_a_batch_padded_on_the_right_gives_each_row_its_own_logits(pair: Pair) -> None:
    """Also in the step after: a row's next token takes the place of its padding."""
    random = np.random.default_rng(9)
    lengths = [3, 8, 5]
    ids = [random.integers(0, 80, length + 1) for length in lengths]
    padded = np.zeros([3, 8], np.int64)
    for row, own in enumerate(ids):
        padded[row, : lengths[row]] = own[:-1]
    pool = pair.graphs.cache(rows=3)
    first = pool.forward(
        pair.graphs.embed(padded),
        np.broadcast_to(np.arange(8), (3, 3, 8)),
        lengths,
        wanted=[[length - 1] for length in lengths],
    )
    second = step(
        pair, pool, [int(own[-1]) for own in ids], lengths, [length + 1 for length in lengths]
    )
    for row, own in enumerate(ids):
        expected = pair.reference.logits(Prompt(own, None, None))
        assert_close(first[row, 0], expected[-2])
        assert_close(second[row], expected[-1])


def test_a_later_turn_with_a_new_image_equals_the_whole_conversation(pair: Pair) -> None:
    """A prompt with an image, five single tokens, then a turn with another image."""
    prompt = pair.reference.prompt(np.random.default_rng(12), [(4, 6), (6, 4)], 8)
    turns = [20, 1, 1, 1, 1, 1, len(prompt) - 25]
    logits = prefill(pair, prompt, pair.graphs.cache(), turns)
    assert_close(logits, pair.reference.logits(prompt))


def test_a_row_without_a_token_leaves_the_others_alone(pair: Pair) -> None:
    prompt = pair.reference.prompt(np.random.default_rng(10), [(4, 4)], 4)
    tokens, expected = greedy(pair, prompt, 2)
    pool = pair.graphs.cache(rows=2)
    single = pair.graphs.cache()
    prefill(pair, prompt, single)
    for name, buffer in single.buffers.items():
        pool.buffers[name][1] = buffer[0]
    _, free = pair.reference.positions(prompt)
    logits = step(pair, pool, [0, tokens[0]], [0, free], [0, len(prompt) + 1])
    assert_close(logits[1], expected[1], 1e-6)


def test_wanted_rows_may_be_several_and_in_any_order(pair: Pair) -> None:
    prompt = pair.reference.prompt(np.random.default_rng(11), [(4, 4)], 4)
    whole = prefill(pair, prompt, pair.graphs.cache())
    embeds, deepstack = merged(pair, prompt)
    positions, _ = pair.reference.positions(prompt)
    wanted = [len(prompt) - 1, 0, 5]
    logits = pair.graphs.cache().forward(
        embeds, positions, [len(prompt)], deepstack=deepstack, wanted=[wanted]
    )
    assert_close(logits[0], whole[wanted], 1e-6)


def test_positions_reach_as_far_as_a_published_checkpoint_says(pair: Pair) -> None:
    """The far tokens look back at the near ones, so an error of an angle shows."""
    prompt = Prompt(np.arange(6), None, None)
    places = np.array([0, 1, 2, 262_141, 262_142, 262_143])
    expected = pair.reference.logits(prompt, places)
    logits = pair.graphs.cache().forward(
        pair.graphs.embed(prompt.ids[None]),
        np.broadcast_to(places, (3, 1, 6)),
        [6],
        wanted=[list(range(6))],
    )
    assert_close(logits[0], expected)


@pytest.mark.parametrize("theta", [10_000.0, 500_000.0, 1_000_000.0, 5_000_000.0])
@pytest.mark.parametrize("dim", [16, 36, 64, 128])
def test_frequencies_are_those_of_transformers_to_the_last_bit(theta: float, dim: int) -> None:
    config = SimpleNamespace(rope_parameters={"rope_theta": theta}, head_dim=dim)
    expected, _ = Qwen3VLTextRotaryEmbedding.compute_default_rope_parameters(config)
    np.testing.assert_array_max_ulp(inverse_frequencies(theta, dim), expected.numpy(), 1)
