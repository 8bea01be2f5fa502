"""How weights are stored, and that storing them so changes nothing else."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file, save_file

from tests.export.checkpoints import random_checkpoint
from tests.export.graphs import Graphs
from triptych.core.graphs.session import session_options
from triptych.core.stages import Runtime
from triptych.export import export_checkpoint
from triptych.export.precision import PrecisionError, precision_named


def stored(path):
    """The dtypes of a graph's weights, without its small constants."""
    weights = onnx.load(path).graph.initializer
    return {w.name: w.data_type for w in weights if not w.name.startswith("constant")}


@pytest.mark.parametrize("graph", ["vision_encoder", "embeddings", "decoder"])
@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", onnx.TensorProto.FLOAT), ("fp16", onnx.TensorProto.FLOAT16)],
)
def test_every_weight_is_stored_as_asked(tmp_path, graph, precision, dtype):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    out = export_checkpoint(checkpoint, tmp_path / "out", precision=precision)
    assert set(stored(out / f"{graph}.onnx").values()) == {dtype}


def test_fp16_computes_in_float32_what_rounded_weights_give(tmp_path):
    """An fp32 export of the weights rounded to fp16 gives the very same bits."""
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    halves = export_checkpoint(checkpoint, tmp_path / "halves", precision="fp16")
    weights = load_file(checkpoint / "model.safetensors")
    rounded = {name: w.astype(np.float16).astype(np.float32) for name, w in weights.items()}
    save_file(rounded, checkpoint / "model.safetensors")
    whole = export_checkpoint(checkpoint, tmp_path / "whole", precision="fp32")
    pixels = np.random.default_rng(0).uniform(-1, 1, [24, 1536]).astype(np.float32)
    ids = np.arange(9)[None]
    results = []
    for folder in halves, whole:
        graphs = Graphs(folder)
        rows = graphs.embed(ids)
        logits = graphs.cache().forward(rows, np.broadcast_to(ids, (3, 1, 9)), [9])
        results.append([*graphs.vision(pixels, np.array([[1, 4, 6]])), rows, logits])
    for half, full in zip(*results, strict=True):
        np.testing.assert_array_equal(half, full)


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_the_table_of_positions_is_as_small_in_memory_as_on_disk(tmp_path, precision):
    """ONNX Runtime computes a cast of a whole weight once and for all, and keeps the result."""
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    out = export_checkpoint(checkpoint, tmp_path / "out", precision=precision)
    options = session_options(Runtime())
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(
        out / "vision_encoder.onnx", options, providers=["CPUExecutionProvider"]
    )
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    name = "model.visual.pos_embed.weight"
    [table] = [weight for weight in graph.initializer if weight.name == name]
    assert table.data_type == onnx.TensorProto.FLOAT16
    assert [w.name for w in graph.initializer if w.dims == table.dims] == [name]
    found = {node.output[0] for node in graph.node if name in node.input}
    after = {node.op_type for node in graph.node if found & set(node.input)}
    assert (len(found), after) == (4, {"Cast"})


def test_a_weight_that_fp16_cannot_hold_stays_fp32(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    weights = load_file(checkpoint / "model.safetensors")
    name = "model.language_model.layers.1.mlp.down_proj.weight"
    weights[name][0, 0] = 70_000
    save_file(weights, checkpoint / "model.safetensors")
    out = export_checkpoint(checkpoint, tmp_path / "out", precision="fp16")
    dtypes = stored(out / "decoder.onnx")
    assert dtypes.pop(name) == onnx.TensorProto.FLOAT
    assert set(dtypes.values()) == {onnx.TensorProto.FLOAT16}
    logits = (
        Graphs(out)
        .cache()
        .forward(np.ones((1, 1, 64), np.float32), np.zeros((3, 1, 1), np.int64), [1])
    )
    assert np.isfinite(logits).all()


def test_an_unknown_precision_is_refused_with_the_known_ones():
    said = "No precision 'int3'; there is fp32, fp16, int8, int4."
    with pytest.raises(PrecisionError, match=re.escape(said)):
        precision_named("int3")
