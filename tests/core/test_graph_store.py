"""Optimised graphs are kept for the next start: privately, bounded, and never believed blindly."""

import os

import pytest

from triptych.core import graph_store
from triptych.core.graph_store import GraphStore, StoreError


@pytest.fixture
def graph(tmp_path, monkeypatch):
    """A file that stands for a graph, with a data file that counts as large."""
    monkeypatch.setattr(graph_store, "LEAST_WEIGHTS", 8)
    (tmp_path / "a.onnx").write_bytes(b"graph")
    (tmp_path / "a.data").write_bytes(bytes(16))
    return tmp_path / "a.onnx"


@pytest.fixture
def store(tmp_path):
    return GraphStore(tmp_path / "cache")


def find(store, graph, made_by="ort"):
    return store.find(graph, ["a.data"], made_by)


def write(stored, content=b"optimised"):
    with stored.writing() as target:
        target.write_bytes(content)


def test_what_was_written_is_found_again_and_nothing_else_is(store, graph):
    assert find(store, graph).content is None
    write(find(store, graph))
    assert find(store, graph).content == b"optimised"
    assert find(store, graph, made_by="another ort").content is None
    assert [path.suffix for path in store.folder.iterdir()] == [".graph"]
    assert store.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["a.onnx", "a.data"])
def test_a_file_that_changed_is_another_graph(store, graph, name):
    write(find(store, graph))
    (graph.parent / name).write_bytes(b"something else..")
    assert find(store, graph).content is None


def test_a_graph_of_little_weight_has_no_place(store, graph):
    (graph.parent / "a.data").write_bytes(bytes(4))
    assert find(store, graph) is None


def test_a_damaged_entry_is_none(store, graph):
    write(find(store, graph))
    [path] = store.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert find(store, graph).content is None


def test_a_block_that_fails_leaves_nothing(store, graph):
    def fail():
        with find(store, graph).writing() as target:
            target.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(store.folder.iterdir()) == []


def test_what_was_not_used_for_longest_goes_first(tmp_path, graph):
    store = GraphStore(tmp_path / "cache", most_bytes=3 * (32 + 10))
    for age, made_by in enumerate("abc"):
        stored = find(store, graph, made_by)
        write(stored, bytes(10))
        os.utime(stored.path, (age, age))
    assert find(store, graph, "a").content is not None
    write(find(store, graph, "d"), bytes(10))
    kept = [made_by for made_by in "abcd" if find(store, graph, made_by).content is not None]
    assert kept == ["a", "c", "d"]


def test_a_folder_that_others_may_write_to_is_not_used(store, graph):
    write(find(store, graph))
    store.folder.chmod(0o777)
    assert find(store, graph).content is None
    with pytest.raises(StoreError, match="others may write"):
        store.prepare()
    with find(store, graph).writing() as target:
        assert target is None


def test_the_environment_names_the_folder_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    assert GraphStore.usual() == GraphStore(tmp_path / "graphs")
    monkeypatch.setenv("TRIPTYCH_CACHE", "off")
    assert GraphStore.usual() is None
