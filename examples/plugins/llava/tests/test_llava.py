"""A family from outside: its parts keep their promises, and agree with transformers."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor
from triptych_llava.exporter import LlavaExporter
from triptych_llava.positions import Count
from triptych_llava.processor import ClipProcessor

import triptych
from triptych.cli.main import main
from triptych.export import export_checkpoint
from triptych.testing import check_exporter, check_processor, check_stage

CLOSE = 1e-4
QUESTION = "What is this?"


@pytest.fixture(scope="module")
def pipe(pipeline):
    return triptych.load(pipeline)


def test_its_parts_keep_the_promises_of_their_kinds(checkpoint, pipeline):
    check_stage(Count)
    check_processor(ClipProcessor, folder=pipeline)
    check_exporter(LlavaExporter, checkpoint=checkpoint)


def test_the_pipeline_names_parts_of_the_package(pipeline):
    text = (pipeline / "pipeline.yaml").read_text(encoding="utf-8")
    assert "processor: {llava/clip: .}" in text
    assert "- llava/count" in text


def test_pixels_are_those_of_transformers(pipe, checkpoint, picture):
    [media] = pipe.processor.prompt(triptych.Request(QUESTION, images=[picture])).media
    theirs = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")
    pixels = theirs(picture, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(media.ports["pixel_values"], pixels, rtol=0, atol=1e-6)


def inputs(pipe, request):
    """What transformers is called with for the same prompt."""
    prompt = pipe.processor.prompt(request)
    given = {"input_ids": torch.from_numpy(prompt.tokens)[None]}
    if prompt.media:
        pixels = np.concatenate([item.ports["pixel_values"] for item in prompt.media])
        given["pixel_values"] = torch.from_numpy(pixels)
    return given


@pytest.mark.parametrize("pictures", [0, 1, 2])
def test_greedy_tokens_are_those_of_transformers(pipe, model, picture, pictures):
    images = [picture, picture[::-1].copy()][:pictures]
    request = triptych.Request(QUESTION, images=images)
    reply = pipe.generate(request, max_new_tokens=24, temperature=0)
    given = inputs(pipe, request)
    with torch.no_grad():
        ids = model.generate(**given, max_new_tokens=24, do_sample=False, eos_token_id=256)
    wanted = ids[0, given["input_ids"].shape[1] :].tolist()
    assert list(reply.tokens) == [token for token in wanted if token != 256]
    assert len(set(reply.tokens)) > 2


@pytest.mark.parametrize("pictures", [0, 1, 2])
def test_log_probabilities_are_those_of_transformers(pipe, model, picture, pictures):
    request = triptych.Request(QUESTION, images=[picture, picture[:, ::-1].copy()][:pictures])
    said = "It is a picture."
    score = pipe.score(request, said)
    given = inputs(pipe, request)
    completion = torch.tensor(score.tokens)
    given["input_ids"] = torch.cat([given["input_ids"], completion[None]], dim=1)
    with torch.no_grad():
        logits = model(**given).logits[0, -len(completion) - 1 : -1].log_softmax(-1)
    wanted = logits[torch.arange(len(completion)), completion].numpy()
    np.testing.assert_allclose(score.logprobs, wanted, rtol=0, atol=CLOSE)


def test_a_picture_in_a_later_turn_is_seen(pipe, picture):
    chat = pipe.chat()
    chat.send("Hello.", max_new_tokens=4)
    seen = chat.send("And this?", images=[picture], max_new_tokens=8)
    other = pipe.chat()
    other.send("Hello.", max_new_tokens=4)
    assert seen.tokens != other.send("And this?", images=[255 - picture], max_new_tokens=8).tokens


def test_verify_holds_every_stage_against_the_checkpoint(checkpoint, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["export", str(checkpoint), out, "--family", "llava/llava"]) == 0
    capsys.readouterr()
    assert main(["verify", out, "--against", str(checkpoint), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_every_precision_comes_with_the_builders(checkpoint, tmp_path, picture):
    for precision in ("fp16", "int8", "int4"):
        folder = export_checkpoint(
            checkpoint, tmp_path / precision, precision=precision, family="llava/llava"
        )
        reply = triptych.load(folder).generate(QUESTION, images=[picture], max_new_tokens=4)
        assert reply.usage.image_tokens == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"projector_hidden_act": "relu"}, "projector_hidden_act is 'relu'"),
        ({"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy is 'full'"),
        ({"vision_config": {"model_type": "siglip_vision_model"}}, "vision_config.model_type is"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(checkpoint, change, message):
    from triptych_llava.config import read_config

    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    with pytest.raises(triptych.TriptychError, match=message):
        read_config({**config, **change}, "config.json")


def test_text_that_spells_out_a_placeholder_is_refused(pipe):
    with pytest.raises(triptych.InputError, match="spells out <image>"):
        pipe.generate("What is <image>?")
