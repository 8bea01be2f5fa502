"""The optimised form of a graph is kept for that very graph, where that pays."""

import pytest

from triptych.core.graphs import kept_graph as graphs
from triptych.core.graphs.files import GraphFiles
from triptych.core.graphs.kept_graph import kept_graph


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files that stand for a graph, with one of data that counts as large."""
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(graphs, "LEAST_WEIGHTS", 8)
    (tmp_path / "a.onnx").write_bytes(b"graph")
    (tmp_path / "a.data").write_bytes(bytes(16))
    return GraphFiles(tmp_path / "a.onnx", ("a.data",))


def test_the_same_graph_and_maker_have_the_same_place(files):
    kept_graph(files, "ort").write(b"optimised")
    assert kept_graph(files, "ort").read() == b"optimised"
    assert kept_graph(files, "another ort").read() is None


@pytest.mark.parametrize("name", ["a.onnx", "a.data"])
def test_a_file_that_changed_is_another_graph(files, name):
    kept_graph(files, "ort").write(b"optimised")
    (files.folder / name).write_bytes(b"something else..")
    assert kept_graph(files, "ort").read() is None


def test_a_graph_of_little_weight_has_no_place(files):
    (files.folder / "a.data").write_bytes(bytes(4))
    assert kept_graph(files, "ort") is None


def test_a_graph_that_would_not_fit_has_no_place(files, monkeypatch):
    monkeypatch.setattr(graphs, "LARGEST", 4)
    assert kept_graph(files, "ort") is None


def test_where_nothing_is_to_be_kept_no_graph_has_a_place(files, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", "off")
    assert kept_graph(files, "ort") is None
