"""Exported Idefics3 and SmolVLM say what transformers says, from the picture on.

Errors are relative to the largest value of what is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import triptych
from tests.export.idefics3.checkpoints import SHAPES, TinyShape, random_checkpoint
from tests.export.idefics3.processor_files import reference_processor, token_id
from triptych import Request
from triptych.export import export_checkpoint
from triptych.export.idefics3.config import read_config

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-4
Messages = list[dict[str, Any]]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def asked(*parts: Any) -> dict[str, Any]:
    """What a user says; a text or a picture is a part."""
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "image": part}
        for part in parts
    ]
    return {"role": "user", "content": content}


CONVERSATIONS: dict[str, Messages] = {
    "text": [asked("What is in the picture?")],
    "a picture of one tile": [asked(picture(30, 30), "What is it?")],
    "a picture of several tiles": [asked(picture(130, 70, 1), "What is it?")],
    "two pictures between texts": [
        asked("One:", picture(40, 90, 2), "and two:", picture(60, 60, 3), "Compare them.")
    ],
    "three pictures": [asked(picture(25, 200, 4), picture(70, 70, 5), picture(200, 20, 6), "?")],
}


@dataclass
class Model:
    """A checkpoint, its export as a pipeline, and transformers' model and processor."""

    root: Path
    shape: TinyShape

    def __post_init__(self) -> None:
        self.checkpoint = random_checkpoint(self.root / "checkpoint", self.shape)
        self.folder = export_checkpoint(self.checkpoint, self.root / "export")

    @cached_property
    def pipe(self) -> Any:
        return triptych.load(self.folder, overrides={"stop.max_new_tokens": 64})

    @cached_property
    def processor(self) -> Any:
        return reference_processor(self.checkpoint)

    @cached_property
    def reference(self) -> Any:
        [name] = self.shape.config()["architectures"]
        loaded = getattr(transformers, name).from_pretrained(self.checkpoint, dtype=torch.float32)
        return loaded.eval()

    def inputs(self, messages: Messages, then: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
        """What transformers makes of a conversation; `tokens` of a message stay as they are."""
        told = [{**message, "content": parts(message)} for message in messages]
        text = self.processor.apply_chat_template(told, add_generation_prompt=True)
        shown = [part["image"] for m in told for part in m["content"] if part["type"] == "image"]
        made = self.processor(
            text=text,
            images=[shown] if shown else None,
            add_special_tokens=False,
            return_tensors="pt",
        )
        ids = made["input_ids"][0].tolist()
        for message in messages:
            if "tokens" in message:
                at = ids.index(token_id(HOLE))
                ids[at : at + 1] = message["tokens"]
        media = {"pixel_values": made["pixel_values"]} if shown else {}
        return {"input_ids": torch.tensor([[*ids, *then]]), **media}

    @torch.no_grad()
    def logits(self, messages: Messages, then: tuple[int, ...] = ()) -> Array:
        """Logits [S, V] by transformers."""
        return self.reference(**self.inputs(messages, then)).logits[0].numpy()

    @torch.no_grad()
    def greedy(self, messages: Messages, steps: int) -> tuple[int, ...]:
        """Greedy tokens by transformers."""
        given = self.inputs(messages)
        chosen = self.reference.generate(
            **given, max_new_tokens=steps, do_sample=False, eos_token_id=None
        )
        return tuple(chosen[0, given["input_ids"].shape[1] :].tolist())

    @torch.no_grad()
    def features(self, messages: Messages) -> Array:
        """Image features [N, H] by transformers."""
        found = self.reference.model.get_image_features(self.inputs(messages)["pixel_values"])
        return torch.cat(list(found.pooler_output)).numpy()


HOLE = "<row_6_col_6>"
"""What stands for generated tokens in a conversation for transformers."""


def parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message's content as transformers' templates of these families take it."""
    if "tokens" in message:
        return [{"type": "text", "text": HOLE}]
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives the Model for a name of SHAPES, made once."""
    return cache(lambda name: Model(tmp_path_factory.mktemp("idefics3"), SHAPES[name]))


@pytest.fixture(params=list(SHAPES))
def model(request: pytest.FixtureRequest, models: Any) -> Model:
    """Each of the tiny shapes in turn."""
    return models(request.param)


def assert_close(actual: Array, expected: Array, tolerance: float = TOLERANCE) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("name", [name for name in CONVERSATIONS if name != "text"])
def test_the_features_of_pictures_are_those_of_transformers(model: Model, name: str) -> None:
    features = model.pipe.run_until("image_features", Request(messages=CONVERSATIONS[name]))
    expected = model.features(CONVERSATIONS[name])
    assert_close(features, expected)
    assert len(features) % model.shape.rows == 0
    # Or the rows' order would not matter.
    assert np.abs(features - features[::-1]).max() > 0.1 * np.abs(features).max()


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_scores_are_the_log_softmax_of_transformers(model: Model, name: str) -> None:
    completion = np.random.default_rng(3).integers(0, 280, 12).tolist()
    score = model.pipe.score(Request(messages=CONVERSATIONS[name]), completion)
    logits = model.logits(CONVERSATIONS[name], tuple(completion[:-1]))[-12:].astype(np.float64)
    expected = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    expected = expected[range(12), completion]
    np.testing.assert_allclose(score.logprobs, expected, atol=2e-4)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_sixty_four_greedy_tokens_are_those_of_transformers(model: Model, name: str) -> None:
    reply = model.pipe.generate(Request(messages=CONVERSATIONS[name]))
    assert reply.tokens == model.greedy(CONVERSATIONS[name], 64)
    assert len(reply.tokens) == 64


def test_replies_depend_on_the_picture(models: Any) -> None:
    pipe = models("idefics3").pipe
    replies = {
        pipe.generate(Request(messages=[asked(picture(60, 60, seed), "What is it?")])).tokens
        for seed in range(4)
    }
    assert len(replies) == 4


@pytest.mark.parametrize("chunk", [1, 5])
def test_slices_that_cut_tiles_give_the_tokens_of_one_pass(models: Any, chunk: int) -> None:
    model = models("idefics3")
    pipe = triptych.load(model.folder, overrides={"session.chunk": chunk})
    for messages in CONVERSATIONS.values():
        request = Request(messages=messages)
        whole = model.pipe.generate(request, max_new_tokens=8)
        assert pipe.generate(request, max_new_tokens=8).tokens == whole.tokens


def test_every_turn_of_a_chat_with_new_pictures_is_that_of_transformers(model: Model) -> None:
    chat = model.pipe.chat(max_new_tokens=16)
    turns = [
        ("What is in the picture?", []),
        ("And here?", [picture(90, 30, 7)]),
        ("Describe it.", []),
        ("Compare them:", [picture(20, 20, 8), picture(50, 90, 9)]),
    ]
    for text, images in turns:
        messages = [*chat.messages, asked(*images, text)]
        reply = chat.send(text, images=images)
        fresh = model.pipe.generate(Request(messages=messages), max_new_tokens=16)
        assert reply.tokens == fresh.tokens == model.greedy(messages, 16)


def test_a_prompt_lookup_gives_the_tokens_of_plain_decoding(models: Any) -> None:
    model = models("smolvlm, tied, a shuffle of three")
    lookup = triptych.load(model.folder, overrides={"strategy": {"prompt_lookup": {"tokens": 4}}})
    for messages in CONVERSATIONS.values():
        request = Request(messages=messages)
        plain = model.pipe.generate(request, max_new_tokens=32)
        assert lookup.generate(request, max_new_tokens=32).tokens == plain.tokens


@pytest.mark.parametrize(("side", "tile"), [(26, 26), (27, 27), (32, 32), (14, 14), (32, 8)])
def test_positions_of_patches_are_those_of_transformers(side: int, tile: int) -> None:
    """26, 27 and 32 patches a side are those of Idefics3, SmolVLM 2.2B, and 256M and 500M."""
    shape = TinyShape(image_size=8 * side, tile=8 * tile, scale=1)
    vision = read_config(shape.config(), "config.json", tile=shape.tile).vision
    config = transformers.Idefics3VisionConfig(
        hidden_size=4, image_size=8 * side, patch_size=8, num_attention_heads=1
    )
    kind = transformers.models.idefics3.modeling_idefics3.Idefics3VisionEmbeddings
    embeddings = kind(config)
    with torch.no_grad():
        embeddings.patch_embedding.weight.zero_()
        embeddings.patch_embedding.bias.zero_()
        embeddings.position_embedding.weight[:] = torch.arange(side**2)[:, None]
        mask = torch.ones(1, tile, tile, dtype=torch.bool)
        found = embeddings(torch.zeros(1, 3, 8 * tile, 8 * tile), mask)
    assert list(vision.positions) == found[0, :, 0].int().tolist()
