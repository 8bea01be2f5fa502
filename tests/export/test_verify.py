"""Verifying an export names the first stage that is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.export.checkpoints import SHAPES, random_checkpoint
from triptych.export import export_checkpoint, verify_export
from triptych.export.comparison import Compared, check
from triptych.export.qwen3_vl.graphs import MismatchError
from triptych.export.verify import VerifyError

ORDER = [
    ("vision_encoder", "image_features"),
    ("vision_encoder", "deepstack_features"),
    ("embeddings", "inputs_embeds"),
    ("decoder", "logits of the prompt"),
    ("decoder", "logits of each step"),
    ("decoder", "greedy tokens"),
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
    result = verify_export(out, pair.checkpoint)
    assert result.passed
    assert result.first_failure is None
    assert [(one.stage, one.port) for one in result.checks] == ORDER
    assert all(one.relative < 1e-5 for one in result.checks)


@pytest.mark.parametrize(
    ("name", "stage", "port"),
    [
        ("visual.patch_embed.proj.weight", "vision_encoder", "image_features"),
        ("visual.merger.linear_fc2.weight", "vision_encoder", "image_features"),
        ("visual.deepstack_merger_list.1.linear_fc2.bias", "vision_encoder", "deepstack_features"),
        ("language_model.embed_tokens.weight", "embeddings", "inputs_embeds"),
        ("language_model.layers.1.self_attn.q_norm.weight", "decoder", "logits of the prompt"),
        ("language_model.layers.2.mlp.down_proj.weight", "decoder", "logits of the prompt"),
        ("language_model.norm.weight", "decoder", "logits of the prompt"),
    ],
)
def test_one_wrong_weight_is_found_in_its_stage(checkpoint, tmp_path, name, stage, port):
    wrong = damaged(checkpoint, tmp_path / "wrong", f"model.{name}")
    result = verify_export(export_checkpoint(wrong, tmp_path / "out"), checkpoint)
    assert not result.passed
    assert (result.first_failure.stage, result.first_failure.port) == (stage, port)
    spared = [one for one in result.checks if one.stage not in (stage, "decoder")]
    assert all(one.passed for one in spared)


def test_fp16_is_held_to_the_rounded_checkpoint(checkpoint, tmp_path):
    """An error smaller than what rounding to fp16 itself changes is still found."""
    wrong = damaged(checkpoint, tmp_path / "w", "model.language_model.norm.weight", 1.001)
    out = export_checkpoint(wrong, tmp_path / "out", precision="fp16")
    assert verify_export(out, checkpoint).first_failure.stage == "decoder"


def test_the_result_is_one_json_object(checkpoint, tmp_path):
    wrong = damaged(checkpoint, tmp_path / "wrong", "model.visual.pos_embed.weight", np.nan)
    result = verify_export(export_checkpoint(wrong, tmp_path / "out"), checkpoint)
    found = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert found["passed"] is False
    assert found["first_failure"] == "vision_encoder"
    assert found["precision"] == "fp32"
    assert found["checks"][0] == {
        "stage": "vision_encoder",
        "port": "image_features",
        "case": "a square picture",
        "absolute": "Infinity",
        "relative": "Infinity",
        "tolerance": 1e-4,
        "passed": False,
    }


def test_a_tolerance_may_be_given(checkpoint, tmp_path):
    wrong = damaged(checkpoint, tmp_path / "wrong", "model.language_model.norm.weight", 1.00001)
    out = export_checkpoint(wrong, tmp_path / "out")
    assert verify_export(out, checkpoint).passed
    assert verify_export(out, checkpoint, tolerance=3e-6).first_failure.stage == "decoder"


def test_an_export_of_another_model_is_refused(checkpoint, tmp_path):
    other = random_checkpoint(tmp_path / "other", shape=SHAPES["as many kv heads, biased"])
    with pytest.raises(MismatchError, match="4 layers of width 40, but the checkpoint has 3 of"):
        verify_export(export_checkpoint(other, tmp_path / "out"), checkpoint)


def test_a_folder_that_is_no_export_is_refused(checkpoint):
    with pytest.raises(VerifyError, match=r"no export\.json"):
        verify_export(checkpoint, checkpoint)


def test_verifying_prints_nothing(checkpoint, tmp_path, capfd):
    steps = []
    verify_export(
        export_checkpoint(checkpoint, tmp_path / "out"), checkpoint, progress=steps.append
    )
    assert capfd.readouterr() == ("", "")
    assert "decoder greedy tokens, text only" in steps


@pytest.mark.parametrize(
    ("actual", "expected", "relative"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.0, 1.0], [0.0, 0.0], 1.0),
        ([1.0], [1.0, 2.0], float("inf")),
        ([np.nan, 1.0], [1.0, 1.0], float("inf")),
    ],
)
def test_errors_are_relative_to_the_largest_expected_value(actual, expected, relative):
    compared = Compared("decoder", "logits", "a case", np.array(actual), np.array(expected))
    assert check(compared, 1e-4).relative == relative


def test_one_wrong_token_fails():
    compared = Compared("decoder", "tokens", "a case", np.array([1, 2, 3]), np.array([1, 2, 4]))
    found = check(compared, 1.0)
    assert (found.absolute, found.tolerance, found.passed) == (1.0, 0.0, False)
