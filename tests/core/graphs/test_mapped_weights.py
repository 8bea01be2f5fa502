"""Weights are read through a map that can be let go, and are those of the files."""

import ctypes
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from triptych.core.graphs import files as graph_files
from triptych.core.graphs import session as sessions
from triptych.core.graphs.graph import Graph
from triptych.core.graphs.header import ExternalTensor, read_header
from triptych.core.graphs.mapped_weights import MappedWeights
from triptych.core.stages import Runtime

STATUS = Path("/proc/self/status")
SIDE = 512


def file_pages():
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines())
    return int(lines["RssFile"].split()[0]) * 1024


def product(folder, weight):
    """A graph that multiplies x [1, SIDE] by a weight beside it, which is shifted by another."""
    shift = np.arange(SIDE, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["y"]),
            helper.make_node("Add", ["y", "shift"], ["z"]),
        ],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIDE])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, SIDE])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(shift, "shift")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path = folder / "product.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="w.data", size_threshold=0)
    return path


@pytest.fixture
def weight():
    return np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)


def test_views_are_the_values_and_cannot_be_written_to(tmp_path, weight):
    header = read_header(product(tmp_path, weight))
    views = MappedWeights(tmp_path, header.external_tensors).views
    assert set(views) == {"weight", "shift"}
    np.testing.assert_array_equal(views["weight"], weight)
    with pytest.raises(ValueError, match="read-only"):
        views["weight"][0, 0] = 1
    assert views["shift"].flags.owndata, "small ones are no pages of the file"


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux to tell")
def test_pages_that_are_let_go_come_back_with_what_they_held(tmp_path):
    (tmp_path / "w.data").write_bytes(b"\x07" * 2**24)
    mapped = MappedWeights(tmp_path, [ExternalTensor("w", "uint8", (2**24,), "w.data")])
    before = file_pages()
    assert mapped.views["w"].sum() == 7 * 2**24
    assert file_pages() - before > 2**23
    mapped.let_go()
    assert file_pages() - before < 2**21
    with mapped.read_once():
        assert mapped.views["w"].sum() == 7 * 2**24
    assert file_pages() - before < 2**21


@pytest.mark.skipif(not STATUS.exists(), reason="locks as Linux does")
def test_pages_that_are_locked_stay(tmp_path):
    (tmp_path / "w.data").write_bytes(b"\x07" * 2**16)
    mapped = MappedWeights(tmp_path, [ExternalTensor("w", "uint8", (2**16,), "w.data")])
    page = ctypes.c_void_p(mapped.views["w"].ctypes.data)
    if ctypes.CDLL(None).mlock(page, 4096):
        pytest.skip("may lock no memory here")
    with mapped.read_once():
        assert mapped.views["w"].sum() == 7 * 2**16


@pytest.mark.parametrize(
    "odd",
    [
        ExternalTensor("w", "bfloat16", (4,), "w.data"),
        ExternalTensor("w", "unknown", (4,), "w.data"),
        ExternalTensor("w", "float32", (4,), "w.data", offset="32"),
        ExternalTensor("w", "float32", (4,), "w.data", offset="-64"),
        ExternalTensor("w", "float32", (4,), "w.data", offset="4096"),
        ExternalTensor("w", "float32", (4,), "w.data", length="15"),
        ExternalTensor("w", "float32", (0,), "w.data"),
        ExternalTensor("w", "float32", (2**62, 2**62), "w.data"),
    ],
)
def test_what_a_file_does_not_hold_as_it_is_used_is_left_to_onnxruntime(tmp_path, odd):
    (tmp_path / "w.data").write_bytes(bytes(4096))
    assert MappedWeights(tmp_path, [odd]).views == {}


def test_a_large_graph_computes_with_its_map_and_a_small_one_without(tmp_path, weight, monkeypatch):
    path = product(tmp_path, weight)
    x = np.random.default_rng(1).normal(size=(1, SIDE)).astype(np.float32)
    given = []
    give = sessions._give
    monkeypatch.setattr(
        sessions, "_give", lambda options, mapped: given.append(mapped) or give(options, mapped)
    )

    def answer():
        graph = Graph(path)
        graph.load(Runtime())
        return graph.run({"x": x}, ["z"])["z"].copy()

    small = answer()
    assert given == []
    monkeypatch.setattr(graph_files, "LARGE", 0)
    large = answer()
    assert [set(mapped.views) for mapped in given] == [{"weight", "shift"}]
    np.testing.assert_array_equal(small, large)
    np.testing.assert_allclose(large, x @ weight + np.arange(SIDE), rtol=1e-4, atol=1e-4)
