"""Stages are loaded at once; large graphs are opened when they are needed, or found again."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from triptych.core.assembly.loading import begin_loading, finish_loading
from triptych.core.config_error import ConfigError, Where
from triptych.core.graphs import files as graph_files
from triptych.core.graphs import kept_graph
from triptych.core.graphs.errors import GraphError
from triptych.core.graphs.graph import Graph
from triptych.core.stages import Runtime


class Part:
    name = "stage"
    where = Where("pipeline.yaml")


class Stage:
    def __init__(self, load):
        self.load = load


def load(*loads, meanwhile=lambda: None):
    finish_loading(begin_loading([(Part(), Stage(one), Runtime()) for one in loads]), meanwhile)


def test_stages_are_loaded_together_and_the_processor_the_while():
    met = threading.Barrier(3, timeout=20)
    load(lambda _: met.wait(), lambda _: met.wait(), meanwhile=met.wait)


def test_the_first_stage_that_fails_is_told():
    def fails(_):
        raise GraphError("the second")

    def breaks(_):
        raise ZeroDivisionError

    with pytest.raises(GraphError, match="the second"):
        load(lambda _: None, fails, breaks)
    with pytest.raises(ConfigError, match="stage failed with ZeroDivisionError"):
        load(breaks)


@pytest.fixture
def graph(tmp_path, monkeypatch):
    """y = x + w with w in a data file, that counts as large."""
    monkeypatch.setattr(kept_graph, "LEAST_WEIGHTS", 8)
    monkeypatch.setattr(graph_files, "LARGE", 8)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return written(tmp_path / "add.onnx", "Add")


def written(path, operator):
    weight = numpy_helper.from_array(np.arange(1024, dtype=np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1024]) for n in "xy")
    made = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])], "g", [x], [y], [weight]
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path, save_as_external_data=True, location=f"{path.stem}.data")
    return path


def answer(graph):
    return graph.run({"x": np.ones(1024, np.float32)}, ["y"])["y"]


def test_a_graph_on_demand_is_opened_by_its_first_run(graph):
    made = Graph(graph)
    made.load(Runtime(on_demand=True))
    assert made._session is None
    np.testing.assert_array_equal(answer(made), np.arange(1024) + 1)
    assert made._session is not None


def test_a_graph_on_demand_that_cannot_run_is_an_error_at_once(graph, tmp_path):
    with pytest.raises(GraphError, match="NoSuchOperator"):
        Graph(written(tmp_path / "bad.onnx", "NoSuchOperator")).load(Runtime(on_demand=True))


def test_the_second_start_takes_the_optimised_graph_to_the_same_bits(graph, tmp_path):
    first, second, without = Graph(graph), Graph(graph), Graph(graph)
    first.load(Runtime())
    [entry] = (tmp_path / "cache" / "graphs").iterdir()
    assert entry.stat().st_size < 1024 * 4  # The weights stay where they are.
    second.load(Runtime())
    without.load(Runtime(graph_cache=False))
    np.testing.assert_array_equal(answer(second), answer(without))
    assert second._session._model_bytes is None, "megabytes that nobody reads again"


def test_an_entry_that_onnxruntime_refuses_is_made_again(graph, tmp_path):
    Graph(graph).load(Runtime())
    [entry] = (tmp_path / "cache" / "graphs").iterdir()
    sound = entry.read_bytes()
    broken = b"no graph"
    entry.write_bytes(hashlib.sha256(broken).digest() + broken)
    again = Graph(graph)
    again.load(Runtime())
    np.testing.assert_array_equal(answer(again), np.arange(1024) + 1)
    assert entry.read_bytes() == sound


@pytest.mark.parametrize("fails", [False, True])
def test_a_graph_that_cannot_be_kept_is_not_written_at_each_start(
    graph, tmp_path, monkeypatch, fails
):
    """As of fp16, whose weights become float32: too much for an entry, or for any one file."""
    monkeypatch.setattr(kept_graph, "LARGEST", 1024)
    writing = []
    real = onnxruntime.InferenceSession

    def opened(model, sess_options, **kwargs):
        writing.append(bool(sess_options.optimized_model_filepath))
        if fails and writing[-1]:
            Path(sess_options.optimized_model_filepath).write_bytes(b"half")
            raise ValueError("more than 2 GiB")
        return real(model, sess_options=sess_options, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    converted = onnx.load(graph, load_external_data=False)
    converted.graph.node[0].input[1] = "w32"
    converted.graph.node.insert(0, helper.make_node("Abs", ["w"], ["w32"]))
    onnx.save(converted, graph)
    for _ in range(2):
        made = Graph(graph)
        made.load(Runtime())
        np.testing.assert_array_equal(answer(made), np.arange(1024) + 1)
    assert writing == ([True, False, False] if fails else [True, False])
    Graph(graph).load(Runtime(on_demand=True))
    assert len(writing) == (4 if fails else 3), "looked at before its first run, as others"
    [entry] = (tmp_path / "cache" / "graphs").iterdir()
    assert entry.stat().st_size == 32
