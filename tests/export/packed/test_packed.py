"""Checkpoints that are quantized already keep their very codes."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from tests.export.graphs import Graphs
from tests.export.packed.writers import quantized_checkpoint
from triptych.export import export_checkpoint
from triptych.export.checkpoint import Checkpoint, CheckpointError
from triptych.export.output import read_record
from triptych.export.packed import PackedError
from triptych.export.precision import stored_weights

LAYOUTS = [
    ("gptq", 32, 4, False),
    ("gptq_v2", 64, 4, False),
    ("gptq", 32, 8, False),
    ("gptq", None, 4, False),
    ("awq", 32, 4, False),
    ("compressed", 32, 4, True),
    ("compressed", 64, 4, False),
    ("compressed", None, 8, True),
]


@pytest.mark.parametrize(("layout", "group", "bits", "symmetric"), LAYOUTS)
def test_the_graphs_hold_the_values_that_the_checkpoint_means(
    tmp_path, layout, group, bits, symmetric
):
    meant = quantized_checkpoint(
        tmp_path / "packed", layout, group=group, bits=bits, symmetric=symmetric
    )
    out = export_checkpoint(tmp_path / "packed", tmp_path / "out", precision="int4")
    stored = stored_weights(out)
    assert len(meant) == 21
    for name, values in meant.items():
        np.testing.assert_array_equal(stored[name](), values, err_msg=name)


def test_they_are_multiplied_by_as_they_are_unless_something_else_is_asked_for(tmp_path):
    quantized_checkpoint(tmp_path / "packed", "gptq")
    out = export_checkpoint(tmp_path / "packed", tmp_path / "out")
    assert read_record(out)["precision"] == "int4"
    nodes = onnx.load(out / "decoder.onnx").graph.node
    blocked = [node for node in nodes if node.op_type == "MatMulNBits"]
    # A layer multiplies for queries, keys and values at once, for gate and up at once.
    assert len(blocked) == 3 * 4 + 1
    assert not [node for node in nodes if node.op_type == "MatMul"]


@pytest.mark.parametrize("layout", ["gptq", "awq", "compressed"])
def test_asked_for_floats_they_are_dequantized(tmp_path, layout):
    """The same logits as of a checkpoint that has the meant values as floats."""
    meant = quantized_checkpoint(tmp_path / "packed", layout)
    tensors = load_file(tmp_path / "packed" / "model.safetensors")
    packed = {name.rpartition(".")[0] for name in tensors} & {
        name.removesuffix(".weight") for name in meant
    }
    plain = {name: t for name, t in tensors.items() if name.rpartition(".")[0] not in packed}
    (tmp_path / "plain").mkdir()
    save_file({**plain, **meant}, tmp_path / "plain" / "model.safetensors")
    config = json.loads((tmp_path / "packed" / "config.json").read_text())
    del config["quantization_config"]
    (tmp_path / "plain" / "config.json").write_text(json.dumps(config))
    rows = np.random.default_rng(0).standard_normal((1, 7, 64)).astype(np.float32)
    places = np.broadcast_to(np.arange(7), (3, 1, 7))
    logits = [
        Graphs(export_checkpoint(tmp_path / name, tmp_path / f"{name}-out", precision="fp32"))
        .cache()
        .forward(rows, places, [7])
        for name in ("packed", "plain")
    ]
    np.testing.assert_array_equal(*logits)


def rewritten(folder, **settings):
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= settings
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"quant_method": "fp8"},
            "quantization_config.quant_method is 'fp8'; read are gptq, awq, compressed-tensors. "
            "Export the checkpoint that this one was made from instead.",
        ),
        (
            {"bits": 3},
            "quantization_config has 3 bits, which is not read: 4 or 8 bits is.",
        ),
        (
            {"group_size": "many"},
            "quantization_config has a group_size of 'many', which is not read: a number is.",
        ),
    ],
)
def test_a_variant_that_is_not_read_is_refused_by_name(tmp_path, settings, said):
    quantized_checkpoint(tmp_path, "gptq")
    rewritten(tmp_path, **settings)
    with pytest.raises(PackedError) as error:
        Checkpoint(tmp_path)
    assert str(error.value) == f"{tmp_path / 'config.json'}: {said}"


def test_inputs_in_another_order_are_refused(tmp_path):
    quantized_checkpoint(tmp_path, "gptq")
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.language_model.layers.1.mlp.up_proj"
    tensors[f"{name}.g_idx"] = tensors[f"{name}.g_idx"][::-1].copy()
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(PackedError, match=f"{name} was quantized with desc_act"):
        Checkpoint(tmp_path)


def test_a_missing_part_of_a_layer_is_named(tmp_path):
    quantized_checkpoint(tmp_path, "awq")
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.language_model.layers.0.self_attn.q_proj.qzeros"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(PackedError, match=r"hold no tensor '.*layers\.0\.self_attn\.q_proj\.qzer"):
        Checkpoint(tmp_path)


def test_packed_words_are_no_weights_by_themselves(tmp_path):
    quantized_checkpoint(tmp_path, "gptq")
    with pytest.raises(CheckpointError, match="has the dtype I32"):
        Checkpoint(tmp_path).weight("model.language_model.layers.0.mlp.up_proj.qweight")
