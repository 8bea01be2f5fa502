"""Exported Qwen2-VL and Qwen2.5-VL models see and say what transformers sees and says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import triptych
from tests.export.qwen2_vl.checkpoints import token
from tests.export.qwen2_vl.models import VLModel, picture

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-4
PATCH_VALUES = 3 * 2 * 14 * 14

# Heights and widths in patches of the images of one call: whole windows of each tiny model, less
# than one, parts of one at the right and at the bottom, several images.
IMAGES = {
    "whole windows": [(24, 24)],
    "less than a window": [(2, 2)],
    "parts of windows": [(18, 22)],
    "a long one": [(4, 30)],
    "two": [(4, 6), (10, 2)],
    "three": [(2, 2), (18, 10), (4, 30)],
}


def assert_close(actual: Array, expected: Array, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


def pixels_of(sizes: list[tuple[int, int]], seed: int = 0) -> tuple[Array, Array]:
    """Random rows for images of those sizes, and their grids."""
    patches = sum(height * width for height, width in sizes)
    random = np.random.default_rng(seed)
    pixels = random.uniform(-1, 1, [patches, PATCH_VALUES]).astype(np.float32)
    return pixels, np.array([(1, *size) for size in sizes])


@pytest.mark.parametrize("name", IMAGES)
def test_the_features_of_images_are_those_of_transformers(vl: VLModel, name: str) -> None:
    pixels, grids = pixels_of(IMAGES[name])
    (features,) = vl.graphs.vision(pixels, grids)
    assert_close(features, vl.features(pixels, grids))


def test_an_image_has_the_same_features_alone_and_among_others(vl: VLModel) -> None:
    sizes = IMAGES["three"]
    pixels, grids = pixels_of(sizes)
    (together,) = vl.graphs.vision(pixels, grids)
    ends = np.cumsum([height * width for height, width in sizes])
    parts = np.split(pixels, ends[:-1])
    alone = [vl.graphs.vision(part, grid[None])[0] for part, grid in zip(parts, grids, strict=True)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=2e-5)


def prompt(vl: VLModel, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Random words, and an image of each size between them, for transformers."""
    random = np.random.default_rng(5)
    ids = list(random.integers(0, 256, 7))
    for height, width in sizes:
        ids += [token("vision_start"), *[token("image_pad")] * (height * width // 4)]
        ids += [token("vision_end"), *random.integers(0, 256, 5)]
    return vl.of_ids(np.array(ids), *(pixels_of(sizes) if sizes else ()))


@pytest.mark.parametrize("sizes", [[], [(4, 6)], [(6, 4), (2, 8), (10, 10)]], ids=["0", "1", "3"])
@pytest.mark.parametrize("chunk", [1000, 7])
def test_the_logits_of_a_prompt_are_those_of_transformers(
    vl: VLModel, sizes: list[tuple[int, int]], chunk: int
) -> None:
    inputs = prompt(vl, sizes)
    ids = inputs["input_ids"][0].numpy()
    places, _ = vl.positions(inputs)
    embeds = vl.graphs.embed(ids[None])
    if sizes:
        embeds[0, ids == token("image_pad")] = vl.graphs.vision(*pixels_of(sizes))[0]
    cache, logits = vl.graphs.cache(), []
    for start in range(0, len(ids), chunk):
        part = np.arange(start, min(start + chunk, len(ids)))
        logits += [
            cache.forward(
                embeds[:, part],
                places[:, None, part],
                [int(part[-1]) + 1],
                wanted=[list(range(len(part)))],
            )[0]
        ]
    assert_close(np.concatenate(logits), vl.logits(inputs))


# The whole pipeline, from pictures

SMALL, WIDE, TALL = picture(50, 60, 1), picture(300, 90, 2), picture(70, 230, 3)


def asked(text: str, images: Any = ()) -> dict[str, Any]:
    parts = [{"type": "image", "image": image} for image in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


@pytest.mark.parametrize("images", [[], [WIDE], [SMALL, TALL, WIDE]], ids=["0", "1", "3"])
def test_what_a_pipeline_makes_of_pictures_is_what_transformers_makes(
    vl: VLModel, images: list[Any]
) -> None:
    request = triptych.Request("What is it?", images=images)
    inputs = vl.inputs([asked("What is it?", images)], images)
    made = vl.pipe.processor.prompt(request)
    np.testing.assert_array_equal(made.tokens, inputs["input_ids"][0])
    places, following = vl.positions(inputs)
    np.testing.assert_array_equal(vl.pipe.run_until("position_ids", request), places)
    assert vl.pipe.run_until("next_position", request)[-1] == following
    if images:
        for port in "pixel_values", "image_grid_thw":
            given = np.concatenate([item.ports[port] for item in made.media])
            np.testing.assert_array_equal(given, inputs[port].numpy())
        features = vl.pipe.run_until("image_features", request)
        assert_close(features, vl.features(*(inputs[port].numpy() for port in MEDIA)))
    logits = vl.pipe.run_until("logits", request)[0, 0]
    assert_close(logits, vl.logits(inputs)[-1])


MEDIA = "pixel_values", "image_grid_thw"


@pytest.mark.parametrize("images", [[], [WIDE], [SMALL, TALL]], ids=["0", "1", "2"])
def test_sixty_four_greedy_tokens_are_those_of_transformers(vl: VLModel, images: list[Any]) -> None:
    request = triptych.Request("What is it?", images=images)
    reply = vl.pipe.generate(request, max_new_tokens=64)
    assert reply.tokens == vl.greedy(vl.inputs([asked("What is it?", images)], images), 64)


@pytest.mark.parametrize("name", ["Qwen2-VL, untied, saved anew", "Qwen2.5-VL, windows everywhere"])
def test_replies_depend_on_the_picture(vl_models: Any, name: str) -> None:
    """So that the tests above prove something."""
    replies = [
        vl_models(name).pipe.generate("What is it?", images=[image], max_new_tokens=64).tokens
        for image in (SMALL, WIDE)
    ]
    assert replies[0] != replies[1]
    assert min(len(set(reply)) for reply in replies) > 6


def test_slices_that_cut_images_give_the_tokens_of_one_pass(vl: VLModel) -> None:
    pipe = triptych.load(vl.folder, overrides={"session.chunk": 5})
    request = triptych.Request("What is it?", images=[SMALL, WIDE])
    whole = vl.pipe.generate(request, max_new_tokens=16)
    assert pipe.generate(request, max_new_tokens=16).tokens == whole.tokens


def test_a_later_turn_with_a_new_picture_equals_a_fresh_run_and_transformers(vl: VLModel) -> None:
    chat = vl.pipe.chat(max_new_tokens=12)
    chat.send("What is it?", images=[WIDE])
    messages = [*chat.messages, asked("And this?", [SMALL])]
    reply = chat.send("And this?", images=[SMALL])
    fresh = triptych.Request(messages=messages)
    assert reply.tokens == vl.pipe.generate(fresh, max_new_tokens=12).tokens
    made = vl.pipe.processor.prompt(fresh)
    media = [np.concatenate([item.ports[port] for item in made.media]) for port in MEDIA]
    assert reply.tokens == vl.greedy(vl.of_ids(made.tokens, *media), 12)
