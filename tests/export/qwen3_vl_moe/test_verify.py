"""`verify` holds an export with experts against transformers, and says where one is broken."""

from __future__ import annotations

import numpy as np
import pytest

from tests.export.checkpoints import random_checkpoint
from tests.export.qwen3_vl_moe.checkpoints import MOE_SHAPES
from tests.export.qwen3_vl_moe.test_experts import edited, one_by_one
from triptych.export import export_checkpoint, verify_export
from triptych.export.precision.block_experts import ExpertsError
from triptych.export.verification.tolerances import ROUTED

SHAPE = MOE_SHAPES["two of eight experts"]
EXPERTS = "model.language_model.layers.1.mlp.experts"
STEPS = 3

# Products in float32, so that what is left is the order of sums.
EXACT_INT4 = """\
format: 1
default: {precision: int4, accuracy_level: 1}
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("made") / "checkpoint", shape=SHAPE)


@pytest.fixture
def exact_int4(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(EXACT_INT4, encoding="utf-8")
    return file


def assert_equal_within(result, tolerance):
    computed = [one for one in result.checks if "weights" not in one.port]
    assert {one.stage for one in computed} >= {"vision_encoder", "decoder", "pipeline"}
    assert max(one.relative for one in computed) < tolerance
    assert result.passed


def test_a_good_export_passes(model):
    assert_equal_within(verify_export(model.folder, model.checkpoint, steps=STEPS), 1e-5)


def test_fp16_equals_its_own_rounded_weights_and_an_exact_router(checkpoint, tmp_path):
    out = export_checkpoint(checkpoint, tmp_path / "out", precision="fp16")
    assert_equal_within(verify_export(out, checkpoint, steps=STEPS), 1e-5)


@pytest.mark.parametrize(
    "name", ["two of eight experts", "six of thirty-two, the last layer dense"]
)
def test_int4_equals_transformers_with_the_dequantized_weights(tmp_path, exact_int4, name):
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=MOE_SHAPES[name])
    out = export_checkpoint(checkpoint, tmp_path / "out", recipe=exact_int4)
    assert_equal_within(verify_export(out, checkpoint, steps=STEPS, tolerance=1e-4), 1e-4)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_products_in_int8_may_send_a_token_elsewhere_and_pass(checkpoint, tmp_path, precision):
    out = export_checkpoint(checkpoint, tmp_path / "out", precision=precision)
    result = verify_export(out, checkpoint, steps=STEPS)
    assert result.passed
    assert max(one.tolerance for one in result.checks if one.stage == "vision_encoder") <= 0.05
    assert {one.tolerance for one in result.checks if "logits" in one.port} == {ROUTED}


@pytest.mark.parametrize("symmetric", ["true", "false"])
def test_blocks_of_experts_may_be_of_any_size_and_kind(checkpoint, tmp_path, exact_int4, symmetric):
    kind = f"accuracy_level: 1, block: 32, symmetric: {symmetric}, method: rtn"
    exact_int4.write_text(EXACT_INT4.replace("accuracy_level: 1", kind), encoding="utf-8")
    out = export_checkpoint(checkpoint, tmp_path / "out", recipe=exact_int4)
    assert_equal_within(verify_export(out, checkpoint, steps=STEPS, tolerance=1e-4), 1e-4)


@pytest.mark.parametrize("precise", [True, False])
def test_experts_that_lie_one_by_one_are_verified_too(tmp_path, exact_int4, precise):
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=SHAPE)
    edited(checkpoint, one_by_one)
    recipe = None if precise else exact_int4
    out = export_checkpoint(checkpoint, tmp_path / "out", recipe=recipe)
    assert_equal_within(verify_export(out, checkpoint, steps=STEPS, tolerance=1e-4), 1e-4)


def swapped(weights):
    name = f"{EXPERTS}.gate_up_proj"
    weights[name] = np.concatenate(np.split(weights[name], 2, axis=2)[::-1], axis=2)


def shifted(weights):
    """Every expert takes the place of its neighbour."""
    for name in "gate_up_proj", "down_proj":
        weights[f"{EXPERTS}.{name}"] = np.roll(weights[f"{EXPERTS}.{name}"], 1, axis=0)


def one_louder(weights):
    weights[f"{EXPERTS}.down_proj"][3] *= np.float32(1.5)


def other_routes(weights):
    name = "model.language_model.layers.1.mlp.gate.weight"
    weights[name] = weights[name][::-1]


@pytest.mark.parametrize("harm", [swapped, shifted, one_louder, other_routes])
@pytest.mark.parametrize("precise", [True, False])
def test_wrong_experts_are_found_in_the_decoder(checkpoint, tmp_path, exact_int4, harm, precise):
    wrong = edited(random_checkpoint(tmp_path / "wrong", shape=SHAPE), harm)
    out = export_checkpoint(wrong, tmp_path / "out", recipe=None if precise else exact_int4)
    failure = verify_export(out, checkpoint, steps=STEPS, tolerance=1e-4).first_failure
    assert failure is not None
    assert (failure.stage, failure.port) == ("decoder", "weights of mlp")
    if harm is one_louder:
        assert failure.case == f"{EXPERTS}.down_proj[3]"


def test_experts_that_no_blocks_fit_are_refused_with_what_does(tmp_path):
    shape = MOE_SHAPES["all of four, two dense layers, biased"]
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=shape)
    with pytest.raises(ExpertsError, match=r"40 x 24 values.*blocks of 32.*experts\.\*': fp16"):
        export_checkpoint(checkpoint, tmp_path / "out", precision="int4")


def test_a_recipe_that_splits_an_experts_matrices_is_refused(checkpoint, tmp_path, exact_int4):
    more = 'weights: {"*.experts.down_proj": int8}\n'
    exact_int4.write_text(EXACT_INT4 + more, encoding="utf-8")
    with pytest.raises(
        ExpertsError, match=r"gate_up_proj and .*down_proj: one operator holds both"
    ):
        export_checkpoint(checkpoint, tmp_path / "out", recipe=exact_int4)
