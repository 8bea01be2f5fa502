"""FastV: tokens dropped inside a split decoder are masked ones that cost nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import triptych
from triptych import Request
from triptych.core.config_error import ConfigError
from triptych.core.errors import InputError
from triptych.export import export_checkpoint
from triptych.models.sketch.checkpoint import load_checkpoint
from triptych.plugins.reducers.fastv import FastV

ROOT = Path(__file__).parents[3]
SKETCH = ROOT / "checkpoints" / "sketch"
PICTURES = sorted((ROOT / "examples" / "images").glob("*.png"))[:3]
LAYER = 1
NEW_TOKENS = 16


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return export_checkpoint(SKETCH, tmp_path_factory.mktemp("split") / "export", split=LAYER)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return export_checkpoint(SKETCH, tmp_path_factory.mktemp("whole") / "export")


@cache
def pipeline(folder, ratio=None, strategy="autoregressive"):
    insert = [] if ratio is None else [f"before decoder: {fastv(ratio)}"]
    return triptych.load(folder, insert=insert, overrides={"strategy": strategy})


def fastv(ratio):
    return f"{{fastv: {{ratio: {ratio}, layer: {LAYER - 1}}}}}"


def requests():
    asked = [("Describe this image.", PICTURES[:1]), ("How many shapes are there?", PICTURES[1:])]
    settings = {"no_sample": True, "max_new_tokens": NEW_TOKENS}
    return [Request(text, images=images, settings=settings) for text, images in asked] + [
        Request("Hello!", settings=settings)
    ]


def said(pipe):
    return [pipe.generate(request).tokens for request in requests()]


def test_two_halves_say_what_the_whole_says_and_so_do_they_when_all_tokens_are_kept(split, whole):
    expected = said(pipeline(whole))
    assert said(pipeline(split)) == expected
    assert said(pipeline(split, 1.0)) == expected


def test_drafts_are_taken_back_from_caches_of_two_lengths(split):
    drafted = pipeline(split, 0.3, "prompt_lookup")
    assert said(drafted) == said(pipeline(split, 0.3))
    again = Request("red red red red, blue, red red red", settings=requests()[0].settings)
    pictured = Request(again.text, images=PICTURES[:1], settings=again.settings)
    for request in (again, pictured):
        assert drafted.generate(request).tokens == pipeline(split, 0.3).generate(request).tokens


def test_requests_in_company_say_what_they_say_alone(split):
    pipe = pipeline(split, 0.3)
    assert [reply.tokens for reply in pipe.generate_batch(requests())] == said(pipe)


def test_a_later_turn_with_another_picture_is_a_fresh_run_of_the_conversation(split):
    pipe = pipeline(split, 0.3)
    chat = pipe.chat(no_sample=True, max_new_tokens=NEW_TOKENS)
    first = chat.send("Describe this image.", images=PICTURES[:1])
    second = chat.send("And this one?", images=PICTURES[1:2])
    messages = [
        {"role": "user", "content": [_image(PICTURES[0]), _text("Describe this image.")]},
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": [_image(PICTURES[1]), _text("And this one?")]},
    ]
    fresh = pipe.generate(messages=messages, no_sample=True, max_new_tokens=NEW_TOKENS)
    assert second.tokens == fresh.tokens


def _image(path):
    return {"type": "image", "image": path}


def _text(text):
    return {"type": "text", "text": text}


def test_dropped_tokens_are_those_that_transformers_masks_from_that_layer_on(split):
    """The reference ranks by its own attention, and hides keys in the later layers."""
    pipe, request = pipeline(split, 0.4), requests()[0]
    model, _ = load_checkpoint(SKETCH)
    model.set_attn_implementation("eager")
    prompt = pipe.processor.prompt(request)
    [media] = prompt.media
    ids = torch.tensor(prompt.tokens)[None]
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.tensor(media.ports["pixel_values"]),
        "image_grid_thw": torch.tensor(media.ports["image_grid_thw"]),
        "mm_token_type_ids": (ids == model.config.image_token_id).int(),
    }
    with torch.no_grad():
        seen = model(**inputs, output_attentions=True).attentions[LAYER - 1]
    ranks = seen[0, :, -1].mean(0)[media.at].numpy()
    count = int(np.ceil(0.4 * len(media.at)))
    dropped = media.at[np.argsort(-ranks, kind="stable")[count:]]

    def hide(_, args, kwargs):
        mask = kwargs["attention_mask"].clone()
        mask[..., dropped] = torch.finfo(mask.dtype).min
        return args, {**kwargs, "attention_mask": mask}

    layers = model.model.language_model.layers
    for layer in layers[LAYER:]:
        layer.register_forward_pre_hook(hide, with_kwargs=True)
    with torch.no_grad():
        expected = model(**inputs).logits[0, -1].numpy()
    ours = pipe.run_until("logits", request)[0, -1]
    np.testing.assert_allclose(ours, expected, atol=1e-3)
    plain = pipeline(split).run_until("logits", request)[0, -1]
    assert np.abs(plain - expected).max() > 0.01


def test_the_most_attended_tokens_of_a_row_stay_and_text_always_does():
    stage = FastV(FastV.Settings(ratio=0.5, layer=3))
    attention = np.zeros((1, 2, 6, 9), np.float32)
    attention[0, :, -1, 3:] = [[0.0, 0.4, 0.1, 0.0, 0.1, 0.4], [0.0, 0.0, 0.3, 0.1, 0.2, 0.4]]
    visual = np.array([[-1, 0, 1, 2, 3, -1]])
    [keep] = stage({"attention.3": attention, "visual_index": visual})["keep_tokens"]
    # The means of the visual tokens are 0.2, 0.2, 0.05 and 0.15.
    assert keep.tolist() == [True, True, True, False, False, True]


def test_without_the_split_the_error_names_the_export_that_writes_the_attention():
    with pytest.raises(ConfigError, match="--expose attention:0"):
        triptych.load(insert=[f"before decoder: {fastv(0.5)}"])


@pytest.mark.parametrize("layer", [0, 6, 40])
def test_a_decoder_is_split_between_its_layers(tmp_path, layer):
    with pytest.raises(InputError, match=r"layers? "):
        export_checkpoint(SKETCH, tmp_path / "export", split=layer)
