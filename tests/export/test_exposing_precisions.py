"""Exposing and splitting decoders whose weights are rounded: the same graph, looked into."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

import triptych
from tests.conftest import SPECIAL, write_byte_processor
from tests.export.checkpoints import random_checkpoint
from tests.export.qwen3_vl_moe.checkpoints import MOE_SHAPES
from triptych.core.graphs.cut import cut_outputs
from triptych.core.graphs.header import read_header
from triptych.export import export_checkpoint

ROOT = Path(__file__).parents[2]
SKETCH = ROOT / "checkpoints" / "sketch"
SCENE = ROOT / "examples" / "images" / "scene.png"
EVERYTHING = "hidden:all,attention:all,early_logits:all,vision_attention:all"
LAYERS = 6
QUESTION = "Describe this image."


class Exports:
    """One checkpoint in one precision: plain, exposed, and split with everything exposed."""

    def __init__(self, folder, precision):
        self.precision = precision
        self.plain = export_checkpoint(
            SKETCH, folder / "plain", precision=precision, kv_cache="fp32"
        )
        self.opened = export_checkpoint(
            SKETCH, folder / "opened", precision=precision, expose=EVERYTHING
        )
        self.split = export_checkpoint(
            SKETCH, folder / "split", precision=precision, expose=EVERYTHING, split=2
        )


@pytest.fixture(scope="module", params=["fp16", "int8", "int4"])
def exports(request, tmp_path_factory):
    return Exports(tmp_path_factory.mktemp(request.param), request.param)


@cache
def pipeline(folder, caches=(), insert=()):
    overrides = {f"{label}.cache": {"h2o": 4000} for label in caches}
    return triptych.load(folder, overrides=overrides, insert=insert)


def said(pipe):
    return pipe.generate(QUESTION, images=[SCENE], no_sample=True, max_new_tokens=40).tokens


def seen(pipe, port):
    return pipe.run_until(port, QUESTION, images=[SCENE])


def operators(content):
    return [node.op_type for node in onnx.load_model_from_string(content).graph.node]


def test_a_graph_without_its_exposed_outputs_has_the_nodes_of_a_plain_export(exports):
    for name in ("vision_encoder.onnx", "decoder.onnx"):
        exposed = read_header(exports.opened / name).on_demand
        assert exposed
        rest = cut_outputs((exports.opened / name).read_bytes(), exposed)
        plain = cut_outputs((exports.plain / name).read_bytes(), ())
        assert operators(rest) == operators(plain)


def test_exposed_and_split_it_says_what_the_plain_export_says(exports):
    expected = said(pipeline(exports.plain))
    assert said(pipeline(exports.opened)) == expected
    assert said(pipeline(exports.split)) == expected
    keeps_all = ("before decoder: {fastv: {ratio: 1.0, layer: 1}}",)
    assert said(pipeline(exports.split, insert=keeps_all)) == expected


def test_a_policy_that_is_shown_attention_and_evicts_nothing_changes_nothing(exports):
    expected = said(pipeline(exports.plain))
    assert said(pipeline(exports.opened, caches=("decoder",))) == expected
    both = ("early_decoder", "decoder")
    assert said(pipeline(exports.split, caches=both)) == expected


def test_what_is_inside_is_nearly_that_of_the_whole_weights(exports, whole):
    """int4 rounds most; what it computes is still the same model's."""
    pipe, exact = pipeline(exports.opened), pipeline(whole)
    for layer in range(LAYERS):
        rows = seen(pipe, f"attention.{layer}")
        np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)
        assert np.abs(rows - seen(exact, f"attention.{layer}")).mean() < 0.01
        for port in (f"hidden.{layer}", f"early_logits.{layer}"):
            if layer < LAYERS - 1 or port.startswith("hidden"):
                ours, theirs = seen(pipe, port).ravel(), seen(exact, port).ravel()
                assert np.corrcoef(ours, theirs)[0, 1] > 0.98, port
    assert seen(pipe, "vision_attention.0").sum() == pytest.approx(1, abs=1e-5)


def test_a_split_decoder_tells_what_the_whole_one_tells(exports):
    whole, split = pipeline(exports.opened), pipeline(exports.split)
    for port in ("hidden.0", "attention.1", "hidden.4", "attention.5"):
        ours, theirs = seen(split, port), seen(whole, port)
        # Behind the split, rows are rounded to whole numbers from sums in another order.
        assert np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max(), port


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return export_checkpoint(SKETCH, tmp_path_factory.mktemp("whole") / "open", expose=EVERYTHING)


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_rounded_experts_are_looked_into_and_split_as_well(precision, tmp_path):
    shape = replace(MOE_SHAPES["two of eight experts"], vocabulary=256 + len(SPECIAL))
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=shape)
    write_byte_processor(checkpoint)
    options = {"precision": precision, "expose": "hidden:all,attention:all"}
    whole = triptych.load(export_checkpoint(checkpoint, tmp_path / "whole", **options))
    split = triptych.load(export_checkpoint(checkpoint, tmp_path / "split", **options, split=1))
    for port in ("hidden.0", "attention.1", "hidden.1"):
        ours, theirs = (pipe.run_until(port, "Hello there") for pipe in (split, whole))
        assert np.isfinite(theirs).all()
        assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max(), port
