"""What a start opened is opened at once by the next one; what has changed is not."""

import hashlib
import os
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from triptych.cli.opening import Changes
from triptych.core.graphs import head_start as module
from triptych.core.graphs.errors import GraphError
from triptych.core.graphs.graph import Graph
from triptych.core.graphs.head_start import HeadStart, head_start
from triptych.core.stages import Runtime


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file that stands for a pipeline's, in a process with a cache of its own."""
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache" / "graphs"))
    path = tmp_path / "pipeline.yaml"
    path.write_text("format: 1")
    return path


@pytest.fixture
def graph(tmp_path):
    return written(tmp_path / "double.onnx", "Add")


@pytest.fixture
def opened(monkeypatch):
    """The names of the graphs that were opened, and whether that was ahead."""
    calls = []
    real = module.open_session

    def open_session(files, *args, **kwargs):
        calls.append((files.graph.stem, threading.current_thread().name == module.THREAD))
        return real(files, *args, **kwargs)

    monkeypatch.setattr(module, "open_session", open_session)
    return calls


def written(path, operator, data=None):
    """A graph of x and x; with data, of x and a weight that is in that file."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    weight = [numpy_helper.from_array(np.ones(2, np.float32), "w")] if data else []
    node = helper.make_node(operator, ["x", "w" if data else "x"], ["y"])
    made = helper.make_graph([node], "g", [x], [y], weight)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    outside = {"save_as_external_data": True, "location": data, "size_threshold": 0}
    onnx.save(model, path, **(outside if data else {}))
    return path


def start(file, *graphs, runtime=None):
    with head_start(file):
        for graph in graphs:
            made = Graph(graph)
            made.load(runtime or Runtime())
            answer = made.run({"x": np.array([1, 2], np.float32)}, ["y"])["y"]
            np.testing.assert_array_equal(answer, [2, 4])


def test_the_second_start_opens_it_ahead_and_once(file, graph, opened):
    start(file, graph)
    start(file, graph)
    assert opened == [("double", False), ("double", True)]


@pytest.mark.parametrize("changed", ["file", "file, with its times", "graph"])
def test_what_has_changed_is_not_opened_ahead(file, graph, opened, changed):
    os.utime(file, ns=(0, 0))
    start(file, graph)
    if changed == "file":
        file.write_text("format: 1\n")
    elif changed == "file, with its times":
        file.write_text("format: 2")
        os.utime(file, ns=(0, 0))
    else:
        written(graph, "Sum")
    start(file, graph)
    assert opened == [("double", False)] * 2


def test_what_is_asked_for_otherwise_is_opened_in_its_turn_and_noted(file, graph, opened, tmp_path):
    other = written(tmp_path / "other.onnx", "Add")
    start(file, graph)
    start(file, other)
    assert ("other", False) in opened
    opened.clear()
    start(file, other)
    assert opened == [("other", True)]


def test_what_fails_ahead_is_told_where_it_is_asked_for(file, graph, monkeypatch):
    start(file, graph)

    def refuses(files, *_, **__):
        raise GraphError(f"{files.graph.name} is broken")

    monkeypatch.setattr(module, "open_session", refuses)
    with pytest.raises(GraphError, match=r"double.onnx is broken"):
        start(file, graph)


def test_a_start_that_fails_leaves_no_note(file, graph, opened):
    def fails():
        with head_start(file):
            Graph(graph).load(Runtime())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    start(file, graph)
    assert opened == [("double", False)] * 2
    assert HeadStart.current is None


def test_nothing_is_noted_where_nothing_is_to_be_kept(file, graph, opened, monkeypatch):
    start(file, graph, runtime=Runtime(graph_cache=False))
    start(file, graph, runtime=Runtime(graph_cache=False))
    monkeypatch.setenv("TRIPTYCH_CACHE", "off")
    start(file, graph)
    start(file, graph)
    assert opened == [("double", False)] * 4


def test_nothing_is_noted_beside_a_graph_with_a_pool_of_its_own(file, graph, opened, tmp_path):
    other = written(tmp_path / "other.onnx", "Add")
    for _ in range(2):
        with head_start(file):
            Graph(graph).load(Runtime(pool="own"))
            Graph(other).load(Runtime())
    assert opened == [("double", False), ("other", False)] * 2


def test_a_damaged_note_is_no_error(file, graph, opened, tmp_path):
    start(file, graph)
    [note] = (tmp_path / "cache" / "graphs" / "starts").iterdir()
    note.write_bytes(b"{")
    start(file, graph)
    assert opened == [("double", False)] * 2


@pytest.mark.parametrize(
    "graphs",
    [
        '[{"path": "g", "data": [["x"]], "threads": null, "without": []}]',
        '[{"path": "g", "data": "x", "threads": null, "without": []}]',
        '[{"path": "g", "data": [], "threads": [1], "without": []}]',
        '[{"path": "g", "data": [], "threads": "x", "without": []}]',
        '[{"path": 3, "data": [], "threads": null, "without": []}]',
        '[{"path": "g"}]',
        "[3]",
        "[" * 100_000,
    ],
)
def test_a_note_that_says_something_else_is_no_error(file, graph, opened, tmp_path, graphs):
    start(file, graph)
    [note] = (tmp_path / "cache" / "graphs" / "starts").iterdir()
    content = f'{{"files": [], "graphs": {graphs}}}'.encode()
    note.write_bytes(hashlib.sha256(content).digest() + content)
    start(file, graph)
    assert opened == [("double", False)] * 2


def test_a_graph_whose_data_file_has_changed_is_not_opened_ahead(file, tmp_path, opened):
    graph = written(tmp_path / "added.onnx", "Add", data="data.bin")
    for _ in range(2):
        with head_start(file):
            Graph(graph).load(Runtime())
    assert opened == [("added", False), ("added", True)]
    opened.clear()
    (tmp_path / "data.bin").write_bytes(bytes(4096))
    with head_start(file):
        Graph(graph).load(Runtime())
    assert opened == [("added", False)]


def test_the_command_line_has_one_where_no_flag_changes_the_pipeline(
    tiny_pipeline, opened, tmp_path, monkeypatch
):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    replies = [Changes().load(str(tiny_pipeline)).generate("Hello").tokens for _ in range(2)]
    assert replies[0] == replies[1]
    graphs = len(opened) // 2
    assert [ahead for _, ahead in opened] == [False] * graphs + [True] * graphs
    opened.clear()
    changed = Changes(set=["stop.max_new_tokens=3"]).load(str(tiny_pipeline))
    assert len(changed.generate("Hello").tokens) == 3
    assert [ahead for _, ahead in opened] == [False] * graphs
