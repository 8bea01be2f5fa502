"""A broken export is caught, and the stage that is broken is the one that is named."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.export import broken
from tests.export.checkpoints import random_checkpoint
from triptych.core.errors import TriptychError
from triptych.export import export_checkpoint, verify_export

STEPS = 2
PICTURES = {"a square picture", "a tall and a wide picture", "three small pictures"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("made") / "checkpoint")


@pytest.fixture(scope="module")
def whole(checkpoint):
    return export_checkpoint(checkpoint, checkpoint.parent / "whole")


@pytest.fixture
def folder(whole, tmp_path):
    """An export that a test may break."""
    return broken.copied(whole, tmp_path / "broken")


def failures(result, port=None):
    """The stages and ports that failed; of one port, the cases."""
    if port is None:
        return [(one.stage, one.port) for one in result.checks if not one.passed]
    return {one.case for one in result.measured if one.port == port and not one.passed}


def test_the_export_passes_before_it_is_broken(whole, checkpoint):
    assert failures(verify_export(whole, checkpoint, steps=STEPS)) == []


def test_deepstack_that_the_decoder_drops(folder, checkpoint):
    broken.drop_deepstack(folder)
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("decoder", "logits of the prompt")
    assert failures(result, "logits of the prompt") == PICTURES


def test_deepstack_that_the_pipeline_drops(folder, checkpoint):
    broken.rewrite(
        folder / "pipeline.yaml",
        "  - vision_encoder: vision_encoder.onnx",
        "  - vision_encoder: vision_encoder.onnx\n    ignore: [deepstack_features]",
    )
    broken.rewrite(folder / "pipeline.yaml", "  - merge", "  - merge: false")
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("merge", "deepstack_embeds")
    assert result.first_failure.note == "no stage wrote it"


def test_deepstack_layers_in_another_order(folder, checkpoint):
    broken.swap_deepstack_layers(folder)
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[:2] == [
        ("vision_encoder", "deepstack_features[0]"),
        ("vision_encoder", "deepstack_features[1]"),
    ]
    # The decoder is given the right layers, so it is not to blame.
    assert {stage for stage, _ in failures(result)} <= {"vision_encoder", "pipeline"}


def test_rotary_sections_that_are_swapped(folder, checkpoint):
    broken.swap_rotary_sections(folder)
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("decoder", "logits of the prompt")
    # A text has the same position on all axes.
    assert failures(result, "logits of the prompt") == PICTURES


def test_patches_that_are_merged_in_another_order(folder, checkpoint):
    broken.merge_patches_in_columns(folder)
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("vision_encoder", "image_features")
    assert {stage for stage, _ in failures(result)} <= {"vision_encoder", "pipeline"}


def test_a_head_that_is_transposed(folder, checkpoint):
    broken.transpose_head(folder)
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[:2] == [
        ("decoder", "weights of head"),
        ("decoder", "logits of the prompt"),
    ]
    assert {stage for stage, _ in failures(result)} == {"decoder", "pipeline"}


def test_a_transposed_head_of_whole_numbers(checkpoint, tmp_path):
    """The reference computes with what is stored, so what is stored has to be compared as well."""
    folder = export_checkpoint(checkpoint, tmp_path / "out", precision="int8")
    assert failures(verify_export(folder, checkpoint, steps=STEPS)) == []
    with broken.editing(folder / "decoder.onnx") as graph:
        name = "model.language_model.embed_tokens.weight.codes"
        broken.replace_weight(graph, name, lambda codes: codes.reshape(len(codes), -1).T)
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("decoder", "weights of head")


@pytest.mark.parametrize("change", [broken.skip_query_norm, broken.turn_queries_the_other_way])
def test_attention_that_computes_something_else(folder, checkpoint, change):
    change(folder)
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("decoder", "logits of the prompt")
    assert failures(result, "logits of the prompt") == {"text only", *PICTURES}


def test_another_base_of_the_rotary_embedding(whole, checkpoint, tmp_path):
    other = shutil.copytree(checkpoint, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["text_config"]["rope_parameters"]["rope_theta"] *= 2
    (other / "config.json").write_text(json.dumps(config))
    result = verify_export(whole, other, steps=STEPS)
    assert failures(result)[0] == ("decoder", "logits of the prompt")


def test_a_graph_of_an_earlier_checkpoint(folder, checkpoint, tmp_path):
    earlier = random_checkpoint(tmp_path / "earlier", seed=1)
    stale = export_checkpoint(earlier, tmp_path / "stale")
    for file in stale.glob("vision_encoder.onnx*"):
        shutil.copyfile(file, folder / file.name)
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("vision_encoder", "weights")
    assert {stage for stage, _ in failures(result)} <= {"vision_encoder", "pipeline"}


def test_a_stage_that_fails_is_the_one_that_differs(folder, checkpoint):
    broken.rewrite(folder / "pipeline.yaml", "  - mrope", "  - mrope: {merge_size: 1}")
    result = verify_export(folder, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("mrope", "runs")
    assert "no 144 tokens in a row" in result.first_failure.note


def test_a_merge_that_puts_rows_in_the_wrong_places(whole, checkpoint, monkeypatch):
    from triptych.plugins.embeddings.merge import Merge

    right = Merge.__call__

    def reversed_rows(stage, ports):
        return right(stage, {**ports, "image_features": ports["image_features"][::-1]})

    monkeypatch.setattr(Merge, "__call__", reversed_rows)
    result = verify_export(whole, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("merge", "inputs_embeds")
    assert {stage for stage, _ in failures(result)} <= {"merge", "pipeline"}


def test_positions_that_go_wrong_after_a_picture(whole, checkpoint, monkeypatch):
    """Only the tokens that are generated are misplaced: it is a step that tells."""
    from triptych.plugins.positions.mrope import MRope

    right = MRope.__call__

    def counted(stage, ports):
        written = dict(right(stage, ports))
        following = written["next_position"]
        return {**written, "next_position": np.arange(len(following)) + ports["start_position"] + 1}

    monkeypatch.setattr(MRope, "__call__", counted)
    result = verify_export(whole, checkpoint, steps=STEPS)
    assert failures(result)[0] == ("mrope", "position_ids")
    assert failures(result, "position_ids") == {f"{case}, step 1" for case in PICTURES}


@pytest.mark.parametrize(
    ("file", "old", "new", "port"),
    [
        ("preprocessor_config.json", '"image_mean": [0.5', '"image_mean": [0.4', "pixel_values"),
        ("chat_template.jinja", "assistant", "Assistant", "input_ids"),
    ],
)
def test_a_processor_that_differs(tiny_checkpoint, tiny_pipeline, tmp_path, file, old, new, port):
    folder = broken.copied(tiny_pipeline, tmp_path / "broken")
    broken.rewrite(folder / file, old, new)
    result = verify_export(folder, tiny_checkpoint, steps=STEPS)
    assert failures(result) == [("processor", port)]


def test_a_stage_that_writes_nothing_for_its_readers_is_told_before_anything_runs(
    folder, checkpoint
):
    broken.rewrite(folder / "pipeline.yaml", "  - merge", "  - merge: false")
    with pytest.raises(TriptychError, match="deepstack_features"):
        verify_export(folder, checkpoint, steps=STEPS)


def test_two_exports_of_one_checkpoint_agree_without_torch(whole, checkpoint, tmp_path):
    half = export_checkpoint(checkpoint, tmp_path / "half", precision="fp16")
    result = verify_export(half, whole, steps=STEPS)
    assert result.passed
    assert (result.family, result.precision) == ("qwen3_vl", "fp16")
    logits = next(one for one in result.checks if one.port == "logits of the prompt")
    assert 1e-5 < logits.relative < logits.tolerance
    assert 0 < logits.kl_mean <= logits.kl_max < 1e-3
    assert logits.top1 == 1.0


def test_a_broken_export_differs_from_a_whole_one(tiny_pipeline, tmp_path):
    """Another pipeline as the measure: the pictures come from the processor."""
    folder = broken.copied(tiny_pipeline, tmp_path / "broken")
    broken.merge_patches_in_columns(folder)
    result = verify_export(folder, tiny_pipeline, steps=STEPS)
    assert failures(result)[0] == ("vision_encoder", "image_features")
