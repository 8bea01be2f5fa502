"""Parts of the built-in model in others' places: what must not change, and what does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import triptych
from triptych import InputError, Request, TriptychError
from triptych.plugins.features.files import save_features

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "checkpoints" / "sketch"
PICTURES = sorted((ROOT / "examples" / "images").glob("*.png"))[:3]
QUESTION = "Describe this image."


def load(**changes):
    return triptych.load(overrides={"session.prefix_cache": False}, **changes)


def said(pipe):
    return [pipe.generate(QUESTION, images=[picture]).text for picture in PICTURES]


@pytest.fixture(scope="module")
def plain():
    pipe = load()
    return pipe, said(pipe)


# The encoder in torch


@pytest.fixture(scope="module")
def torch_encoder():
    stage = {"torch_vision_encoder": {"checkpoint": str(CHECKPOINT)}}
    return load(replace={"vision_encoder": stage}, allow_outside=True)


def test_the_encoder_run_by_torch_stands_in_for_the_graph(plain, torch_encoder):
    for port in ("image_features", "deepstack_features"):
        ours, theirs = (
            pipe.run_until(port, QUESTION, images=PICTURES) for pipe in (plain[0], torch_encoder)
        )
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert said(torch_encoder) == plain[1]


def test_torch_is_imported_by_nobody_else():
    program = (
        "import sys, triptych; from triptych.core.components.catalog import Catalog; "
        "pipe = triptych.load(); Catalog().names('stages'); "
        "Catalog().find('stages', 'torch_vision_encoder').load(); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Features from the disk


def test_features_that_were_saved_stand_in_for_the_encoder(plain, tmp_path):
    folder = tmp_path / "features"
    files = save_features(plain[0], folder, Request(QUESTION, images=PICTURES))
    assert len(files) == 2 * len(PICTURES)
    pipe = load(replace={"vision_encoder": {"features": str(folder)}}, allow_outside=True)
    assert said(pipe) == plain[1]
    together = Request("How many shapes are there?", images=[*PICTURES, PICTURES[0]])
    assert pipe.generate(together).tokens == plain[0].generate(together).tokens


def test_features_may_be_edited(plain, tmp_path):
    [one, _] = save_features(plain[0], tmp_path, Request(QUESTION, images=PICTURES[:1]))
    np.save(one, np.zeros_like(np.load(one)))
    pipe = load(replace={"vision_encoder": {"features": str(tmp_path)}}, allow_outside=True)
    assert not pipe.run_until("image_features", QUESTION, images=PICTURES[:1]).any()


def test_a_picture_without_features_is_named_with_the_remedy(tmp_path):
    pipe = load(replace={"vision_encoder": {"features": str(tmp_path)}}, allow_outside=True)
    with pytest.raises(TriptychError, match="save_features"):
        pipe.generate(QUESTION, images=PICTURES[:1])
    assert pipe.generate("Hi").tokens, "text needs none"


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", np.zeros(3).tobytes(), b"pickle"])
def test_a_damaged_file_of_features_is_refused(plain, tmp_path, content):
    [one, _] = save_features(plain[0], tmp_path, Request(QUESTION, images=PICTURES[:1]))
    one.write_bytes(content)
    pipe = load(replace={"vision_encoder": {"features": str(tmp_path)}}, allow_outside=True)
    with pytest.raises(TriptychError, match="is no file of features"):
        pipe.generate(QUESTION, images=PICTURES[:1])


def test_features_that_hold_objects_are_never_unpickled(plain, tmp_path):
    [one, _] = save_features(plain[0], tmp_path, Request(QUESTION, images=PICTURES[:1]))
    np.save(one, np.array([print], object), allow_pickle=True)
    pipe = load(replace={"vision_encoder": {"features": str(tmp_path)}}, allow_outside=True)
    with pytest.raises(TriptychError, match="is no file of features"):
        pipe.generate(QUESTION, images=PICTURES[:1])


def test_features_of_another_size_are_refused(plain, tmp_path):
    [one, _] = save_features(plain[0], tmp_path, Request(QUESTION, images=PICTURES[:1]))
    np.save(one, np.load(one)[:-1])
    pipe = load(replace={"vision_encoder": {"features": str(tmp_path)}}, allow_outside=True)
    with pytest.raises(TriptychError, match="the medium has"):
        pipe.generate(QUESTION, images=PICTURES[:1])


def test_features_that_were_pruned_are_not_saved(tmp_path):
    pruned = load(insert=["after mrope: {token_norm: 0.5}"])
    with pytest.raises(InputError, match="with a pipeline that drops none"):
        save_features(pruned, tmp_path, Request(QUESTION, images=PICTURES[:1]))


# Positions, and DeepStack


def test_positions_of_text_for_images_give_other_answers_about_places(plain):
    flat = load(replace={"mrope": "text_positions"})
    positions = flat.run_until("position_ids", QUESTION, images=PICTURES[:1])
    assert (positions == np.arange(positions.shape[1])).all()
    assert flat.generate("Hi").tokens == plain[0].generate("Hi").tokens
    assert said(flat) != plain[1]


def test_deepstack_is_switched_off_layer_by_layer(plain):
    whole = plain[0].run_until("deepstack_embeds", QUESTION, images=PICTURES[:1])
    for layers in ([], [0], [1], [0, 1]):
        pipe = load(replace={"merge": {"merge": {"deepstack": layers}}})
        spread = pipe.run_until("deepstack_embeds", QUESTION, images=PICTURES[:1])
        for layer in range(2):
            expected = whole[layer] if layer in layers else 0 * whole[layer]
            np.testing.assert_array_equal(spread[layer], expected)
        if layers == [0, 1]:
            assert said(pipe) == plain[1]
        elif not layers:
            assert said(pipe) != plain[1]


def test_a_deepstack_layer_that_is_not_there_is_named():
    pipe = load(replace={"merge": {"merge": {"deepstack": [2]}}})
    with pytest.raises(InputError, match="no DeepStack layer 2; the model has 2"):
        pipe.generate(QUESTION, images=PICTURES[:1])
