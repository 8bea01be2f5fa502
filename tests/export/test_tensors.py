"""Weights come in pieces, and the pieces are the weight."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from triptych.export import tensors
from triptych.export.graph_files import GraphFiles
from triptych.export.precision.floats import overflows
from triptych.export.tensors import Bundle, Form, converted, turned

DTYPES = [np.float32, np.float16, np.float64, ml_dtypes.bfloat16]


@pytest.fixture(params=[1, 7, 1000, tensors.PIECE_VALUES])
def piece_values(request, monkeypatch):
    monkeypatch.setattr(tensors, "PIECE_VALUES", request.param)
    return request.param


@pytest.mark.parametrize("shape", [(300, 5), (5, 300), (0, 4), (1,), ()])
def test_pieces_one_after_the_other_are_the_values(piece_values, shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(ml_dtypes.bfloat16)
    pieces = list(converted(values, np.dtype(np.float32)))
    assert max(piece.size for piece in pieces) <= piece_values
    np.testing.assert_array_equal(np.concatenate(pieces), values.astype(np.float32).ravel())


@pytest.mark.parametrize("shape", [(300, 5), (5, 300), (0, 4), (4, 0), (1, 1)])
def test_turned_pieces_are_the_transpose(piece_values, shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(ml_dtypes.bfloat16)
    pieces = list(turned(values, np.dtype(np.float32)))
    assert max(piece.size for piece in pieces) <= max(piece_values, shape[0])
    np.testing.assert_array_equal(np.concatenate(pieces), values.astype(np.float32).T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_fp16_can_hold_does_not_overflow(dtype):
    # 65,280 is the largest bfloat16 below the largest float16, 65,504.
    assert not overflows(np.array([[-65_280.0, 3.0], [0.0, 65_280.0]], dtype))
    assert not overflows(np.zeros((0, 3), dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [65_536.0, -70_000.0, 1e30])
def test_a_value_beyond_the_largest_of_fp16_overflows(piece_values, dtype, value):
    values = np.zeros((40, 40), dtype)
    values[33, 7] = value
    assert overflows(values)


def graph_of(bundle):
    graph = ir.Graph([], [], nodes=(), name="weights")
    for tensor in bundle.tensors:
        value = ir.Value(name=tensor.form.name, type=ir.TensorType(tensor.form.dtype))
        value.const_value = tensor
        graph.register_initializer(value)
    return ir.Model(graph, ir_version=10)


def two_tensors(rows, *, made):
    """Codes [rows, 64] and scales [rows, 2], made two rows at a time; counts how often."""
    codes = np.arange(rows * 64, dtype=np.uint8).reshape(rows, 64)
    scales = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)

    def pieces():
        made.append(rows)
        for start in range(0, rows, 2):
            yield codes[start : start + 2], scales[start : start + 2]

    forms = [
        Form("codes", codes.shape, ir.DataType.UINT8),
        Form("scales", scales.shape, ir.DataType.FLOAT),
    ]
    return forms, pieces, codes, scales


@pytest.mark.parametrize("inline_bytes", [0, 10**9])
def test_tensors_that_are_made_together_are_made_once(tmp_path, monkeypatch, inline_bytes):
    monkeypatch.setattr("triptych.export.graph_files.INLINE_BYTES", inline_bytes)
    made = []
    forms, pieces, codes, scales = two_tensors(30, made=made)
    GraphFiles({"weights.onnx": graph_of(Bundle(forms, pieces))}).write(tmp_path)
    found = ir.load(tmp_path / "weights.onnx").graph.initializers
    np.testing.assert_array_equal(found["codes"].const_value.numpy(), codes)
    np.testing.assert_array_equal(found["scales"].const_value.numpy(), scales)
    assert made == [30]


def test_what_is_shared_is_made_once_and_each_graph_has_its_own_shape(tmp_path):
    made = []
    forms, pieces, codes, scales = two_tensors(30, made=made)
    cut = [Form("cut", (30, 4, 16), ir.DataType.UINT8), forms[1]]
    graphs = {
        "a.onnx": graph_of(Bundle(forms, pieces, shared="table")),
        "b.onnx": graph_of(Bundle(cut, pieces, shared="table")),
        "c.onnx": graph_of(Bundle(forms, pieces, shared="another table")),
    }
    GraphFiles(graphs).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*graphs, "shared.data"]
    a, b, c = (ir.load(tmp_path / name).graph.initializers for name in graphs)
    np.testing.assert_array_equal(b["cut"].const_value.numpy(), codes.reshape(30, 4, 16))
    for found in a, b, c:
        np.testing.assert_array_equal(found["scales"].const_value.numpy(), scales)
    assert made == [30, 30]


def test_a_weight_that_comes_out_in_another_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("triptych.export.graph_files.INLINE_BYTES", 0)
    form = Form("short", (1000,), ir.DataType.FLOAT)
    bundle = Bundle([form], lambda: [(np.zeros(999, np.float32),)])
    with pytest.raises(ValueError, match="declared with 4000 bytes and made with 3996"):
        GraphFiles({"weights.onnx": graph_of(bundle)}).write(tmp_path)
