"""Verifying an export names the first stage that is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.export.checkpoints import SHAPES, random_checkpoint
from triptych.export import export_checkpoint, verify_export
from triptych.export.verify import MismatchError, VerifyError

# Tokens after each prompt: enough to see that steps are compared.
STEPS = 3


def order(layers):
    """What is compared of a model with that many DeepStack layers."""
    return [
        ("vision_encoder", "weights"),
        ("vision_encoder", "image_features"),
        *(("vision_encoder", f"deepstack_features[{layer}]") for layer in range(layers)),
        ("mrope", "position_ids"),
        ("embeddings", "weights"),
        ("embeddings", "inputs_embeds"),
        ("merge", "inputs_embeds"),
        *(("merge", f"deepstack_embeds[{layer}]") for layer in range(layers)),
        *(("decoder", f"weights of {part}") for part in ("norms", "attention", "mlp", "head")),
        ("decoder", "logits of the prompt"),
        ("decoder", "logits of each step"),
        ("pipeline", "greedy tokens"),
    ]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("made") / "checkpoint")


def damaged(checkpoint, target, name, factor=1.1):
    """A copy of the checkpoint with one of its tensors scaled."""
    random_checkpoint(target)
    weights = load_file(checkpoint / "model.safetensors")
    weights[name] *= np.float32(factor)
    save_file(weights, target / "model.safetensors")
    return target


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_good_export_passes_in_data_flow_order(pair, tmp_path, precision):
    out = export_checkpoint(pair.checkpoint, tmp_path / "out", precision=precision)
    result = verify_export(out, pair.checkpoint, steps=STEPS)
    assert result.passed
    assert result.first_failure is None
    assert [(one.stage, one.port) for one in result.checks] == order(len(pair.shape.deepstack))
    assert all(one.relative < 1e-5 for one in result.checks if "weights" not in one.port)


@pytest.mark.parametrize(
    ("name", "stage", "port"),
    [
        ("visual.patch_embed.proj.weight", "vision_encoder", "image_features"),
        ("visual.merger.linear_fc2.weight", "vision_encoder", "image_features"),
        (
            "visual.deepstack_merger_list.1.linear_fc2.bias",
            "vision_encoder",
            "deepstack_features[1]",
        ),
        ("language_model.embed_tokens.weight", "embeddings", "inputs_embeds"),
        ("language_model.layers.1.self_attn.q_norm.weight", "decoder", "logits of the prompt"),
        ("language_model.layers.2.mlp.down_proj.weight", "decoder", "logits of the prompt"),
        ("language_model.norm.weight", "decoder", "logits of the prompt"),
    ],
)
def test_one_wrong_weight_is_found_in_its_stage(checkpoint, tmp_path, name, stage, port):
    """By what the stage computes, and by name where weights are compared."""
    wrong = damaged(checkpoint, tmp_path / "wrong", f"model.{name}")
    result = verify_export(export_checkpoint(wrong, tmp_path / "out"), checkpoint, steps=STEPS)
    failed = [one for one in result.checks if not one.passed]
    assert (failed[0].stage, failed[0].case) == (stage, f"model.{name}")
    assert next(one.port for one in failed if "weights" not in one.port) == port
    spared = [one for one in result.checks if one.stage not in (stage, "decoder", "pipeline")]
    assert all(one.passed for one in spared)


def test_fp16_is_held_to_the_rounded_checkpoint(checkpoint, tmp_path):
    """An error smaller than what rounding to fp16 itself changes is still found."""
    wrong = damaged(checkpoint, tmp_path / "w", "model.language_model.norm.weight", 1.001)
    out = export_checkpoint(wrong, tmp_path / "out", precision="fp16")
    assert verify_export(out, checkpoint, steps=STEPS).first_failure.stage == "decoder"


def test_the_result_is_one_json_object(checkpoint, tmp_path):
    wrong = damaged(checkpoint, tmp_path / "wrong", "model.visual.pos_embed.weight", np.nan)
    result = verify_export(export_checkpoint(wrong, tmp_path / "out"), checkpoint, steps=STEPS)
    found = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert found["passed"] is False
    assert found["first_failure"] == "vision_encoder"
    assert found["precision"] == "fp32"
    weights, first = found["checks"][:2]
    assert (weights["case"], weights["relative"]) == ("model.visual.pos_embed.weight", "Infinity")
    assert (first["stage"], first["port"]) == ("vision_encoder", "image_features")
    assert (first["absolute"], first["relative"], first["tolerance"]) == (
        "Infinity",
        "Infinity",
        1e-4,
    )
    assert first["passed"] is False
    assert [case["case"] for case in first["cases"]] == [
        "a square picture",
        "a tall and a wide picture",
        "three small pictures",
    ]


def test_a_tolerance_may_be_given(checkpoint, tmp_path):
    """It holds for what stages write; weights have bounds of their own."""
    out = export_checkpoint(checkpoint, tmp_path / "out")
    strict = verify_export(out, checkpoint, steps=STEPS, tolerance=1e-9)
    assert strict.first_failure.port == "image_features"


def test_an_export_of_another_model_is_refused(checkpoint, tmp_path):
    other = random_checkpoint(tmp_path / "other", shape=SHAPES["as many kv heads, biased"])
    with pytest.raises(MismatchError, match="rows of width 40, but what it is held against has 64"):
        verify_export(export_checkpoint(other, tmp_path / "out"), checkpoint, steps=STEPS)


def test_a_folder_that_is_no_export_is_refused(checkpoint):
    with pytest.raises(VerifyError, match=r"no export\.json"):
        verify_export(checkpoint, checkpoint)


def test_verifying_prints_nothing(checkpoint, tmp_path, capfd):
    steps = []
    verify_export(
        export_checkpoint(checkpoint, tmp_path / "out"), checkpoint, progress=steps.append
    )
    assert capfd.readouterr() == ("", "")
    assert "pipeline greedy tokens, text only" in steps


def test_a_pipeline_that_was_made_elsewhere_is_compared_as_well(checkpoint, tmp_path):
    """Without a record nothing is known of its weights, and the note says so."""
    out = export_checkpoint(checkpoint, tmp_path / "out")
    (out / "export.json").unlink()
    result = verify_export(out, checkpoint, steps=STEPS)
    assert result.passed
    assert "not exported by Triptych" in result.notes[0]
    assert not any("weights" in one.port for one in result.checks)


@pytest.mark.parametrize(("kv_cache", "tolerance"), [("fp32", 1e-4), ("fp16", 5e-3)])
def test_a_rounded_cache_shows_in_logits_and_nowhere_else(
    checkpoint, tmp_path, kv_cache, tolerance
):
    out = export_checkpoint(checkpoint, tmp_path / "out", kv_cache=kv_cache)
    result = verify_export(out, checkpoint, steps=STEPS)
    assert result.passed
    tolerances = {one.port: one.tolerance for one in result.checks}
    assert tolerances["logits of each step"] == tolerance
    assert tolerances["image_features"] == 1e-4
