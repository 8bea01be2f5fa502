"""Bytes of a decoding step, against sums by hand over graphs that `onnx` wrote."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from triptych.bench.onnx_file import read_onnx
from triptych.bench.step_bytes import StepBytes, pair_bytes, step_bytes, weight_bytes
from triptych.core.ports import CachePair, Port


def saved(path, nodes, weights, functions=()):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "S"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, functions=list(functions)), path)
    return path


def test_products_read_whole_weights_and_tables_one_row(tmp_path):
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "weight"], ["y"]),
        helper.make_node("Add", ["y", "bias"], ["out"]),
    ]
    weights = {
        "table": np.zeros((10, 4), np.float32),
        "weight": np.zeros((4, 6), np.float16),
        "bias": np.zeros(6, np.float32),
        "unused": np.zeros((99, 99), np.float32),
    }
    path = saved(tmp_path / "g.onnx", nodes, weights)
    assert weight_bytes(read_onnx(path)) == 4 * 4 + 4 * 6 * 2 + 6 * 4


def test_a_tied_table_is_read_whole_by_its_product(tmp_path):
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("Gemm", ["x", "table"], ["out"], transB=1),
    ]
    path = saved(tmp_path / "g.onnx", nodes, {"table": np.zeros((10, 4), np.float32)})
    assert weight_bytes(read_onnx(path)) == 10 * 4 * 4


def test_packed_weights_count_as_they_are_stored_with_their_scales(tmp_path):
    node = helper.make_node(
        "MatMulNBits",
        ["ids", "packed", "scales"],
        ["out"],
        domain="com.microsoft",
        K=32,
        N=8,
        bits=4,
        block_size=32,
    )
    weights = {
        "packed": np.zeros((8, 1, 16), np.uint8),
        "scales": np.zeros((8, 1), np.float32),
    }
    path = saved(tmp_path / "g.onnx", [node], weights)
    assert weight_bytes(read_onnx(path)) == 8 * 16 + 8 * 4


def test_of_experts_count_as_many_as_a_token_sees(tmp_path):
    node = helper.make_node(
        "QMoE", ["ids", "router", "experts"], ["out"], domain="com.microsoft", k=2
    )
    path = saved(tmp_path / "g.onnx", [node], {"experts": np.zeros((8, 3, 5), np.uint8)})
    assert weight_bytes(read_onnx(path)) == 2 * 3 * 5


def test_weights_of_four_bits_take_half_a_byte(tmp_path):
    path = tmp_path / "g.onnx"
    tensor = helper.make_tensor("four", TensorProto.INT4, [5, 3], bytes(8), raw=True)
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["four", "ids"], ["out"])], "g", [], [], [tensor]
    )
    onnx.save(helper.make_model(graph), path)
    assert weight_bytes(read_onnx(path)) == 8  # 15 half bytes, and the last one's other half


def test_weights_of_subgraphs_are_found(tmp_path):
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["a", "inside"], ["b"])],
        "inner",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros((2, 3), np.float32), "inside")],
    )
    node = helper.make_node("If", ["ids"], ["out"], then_branch=inner, else_branch=inner)
    path = saved(tmp_path / "g.onnx", [node], {})
    assert weight_bytes(read_onnx(path)) == 2 * 3 * 4


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("int8", 1), ("float16", 2)])
def test_a_past_takes_heads_times_head_size(dtype, size):
    past = Port("past", dtype, ("B", 8, "max_len", 128))
    assert pair_bytes(CachePair(past, past, 0, "key")) == 8 * 128 * size


def test_context_counts_for_each_sequence_and_weights_once(tmp_path):
    path = saved(
        tmp_path / "g.onnx",
        [helper.make_node("MatMul", ["ids", "w"], ["out"])],
        {"w": np.zeros((5, 5), np.float32)},
    )
    past = Port("past", "int8", ("B", 2, "max_len", 4))
    found = step_bytes([path], [CachePair(past, past, 0, "key")])
    assert found == StepBytes(weights=100, context=8)
    assert found.of(10, sequences=3) == 100 + 3 * 10 * 8
