"""Reading a checkpoint folder: every tensor as it was written, everything else refused."""

from __future__ import annotations

import json
import struct

import ml_dtypes
import numpy as np
import pytest

from tests.export.checkpoints import random_checkpoint
from triptych.export.checkpoint import Checkpoint, CheckpointError


def write_safetensors(path, entries, data=b"", header_bytes=None):
    """A file with that header, whatever it says."""
    header = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    length = len(header) if header_bytes is None else header_bytes
    path.write_bytes(struct.pack("<Q", length) + header + data)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint whose one tensor `w` is f32 [2, 2]."""
    (tmp_path / "config.json").write_text("{}")
    data = np.arange(4, dtype=np.float32).tobytes()
    entries = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    write_safetensors(tmp_path / "model.safetensors", entries, data)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        ("F64", np.float64),
        ("F32", np.float32),
        ("F16", np.float16),
        ("BF16", ml_dtypes.bfloat16),
    ],
)
def test_a_tensor_is_read_as_it_was_written(folder, code, dtype):
    values = np.array([[1.5, -2.0, 0.25]], dtype)
    entries = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": code, "shape": [1, 3], "data_offsets": [0, values.nbytes]},
    }
    write_safetensors(folder / "model.safetensors", entries, values.tobytes())
    found = Checkpoint(folder).weight("w", (1, 3)).read()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


def test_shards_hold_what_one_file_holds(tmp_path):
    single = Checkpoint(random_checkpoint(tmp_path / "single"))
    sharded = Checkpoint(random_checkpoint(tmp_path / "sharded", shards=3))
    assert sorted(sharded) == sorted(single)
    for name in single:
        np.testing.assert_array_equal(sharded.weight(name).read(), single.weight(name).read())


def test_a_tensor_without_values_is_read(folder):
    entries = {"w": {"dtype": "F32", "shape": [0, 2], "data_offsets": [0, 0]}}
    write_safetensors(folder / "model.safetensors", entries)
    assert Checkpoint(folder).weight("w").read().shape == (0, 2)


def test_an_absent_tensor_is_named(folder):
    with pytest.raises(CheckpointError, match=r"no tensor 'v'.*Is the checkpoint complete\?"):
        Checkpoint(folder).weight("v")


def test_a_tensor_of_another_shape_is_refused(folder):
    with pytest.raises(CheckpointError, match=r"w has the shape \[2, 2\].*implies \[4\]"):
        Checkpoint(folder).weight("w", (4,))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        Checkpoint(tmp_path / "absent")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"no {name}, needed for"):
        Checkpoint(folder)


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="can run code"):
        Checkpoint(folder)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_a_config_that_is_no_object_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        Checkpoint(folder)


@pytest.mark.parametrize("shard", ["../w.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""])
def test_an_index_cannot_point_out_of_the_folder(folder, shard):
    index = {"weight_map": {"w": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not the plain name of a file in this folder"):
        Checkpoint(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["w"]}])
def test_an_index_without_shards_is_refused(folder, index):
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="no `weight_map`"):
        Checkpoint(folder)


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "model.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)
    with pytest.raises(CheckpointError, match="this link leaves the checkpoint's folder"):
        Checkpoint(folder)


def test_a_snapshot_of_the_hugging_face_cache_is_read_through_its_links(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("models--acme--tiny")
    snapshot, blobs = root / "snapshots" / "abc", root / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in folder.iterdir():
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(blobs / file.name)
    assert Checkpoint(snapshot).weight("w").read()[1, 1] == 3


BROKEN = {
    "an empty file": (b"", None, "not a safetensors file"),
    "a header longer than the file": (b"{}", 10**9, "not a safetensors file"),
    "a header that is no JSON": (b"{...", None, "header is not JSON"),
    "a header that is a list": (b"[]", None, "header is not a JSON object"),
    "an entry that is a list": ({"w": []}, None, "entry for w is malformed"),
    "an entry without a shape": (
        {"w": {"dtype": "F32", "data_offsets": [0, 4]}},
        None,
        "entry for w is malformed",
    ),
    "data beyond the end": (
        {"w": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}},
        None,
        "w lies outside of the file",
    ),
    "data before the beginning": (
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}},
        None,
        "w lies outside of the file",
    ),
    "a shape that is not the size": (
        {"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}},
        None,
        "w is 4 bytes, not a F32",
    ),
    "a shape below zero": (
        {"w": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}},
        None,
        "w lies outside of the file",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused(folder, case):
    header, header_bytes, message = BROKEN[case]
    write_safetensors(folder / "model.safetensors", header, b"\0" * 4, header_bytes)
    if header == b"":
        (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(folder)


def test_a_tensor_of_another_kind_is_refused_when_it_is_asked_for(folder):
    entries = {
        "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "q": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [4, 8]},
    }
    write_safetensors(folder / "model.safetensors", entries, b"\0" * 8)
    checkpoint = Checkpoint(folder)
    assert checkpoint.weight("w").read() == 0
    with pytest.raises(CheckpointError, match="q has the dtype F8_E4M3; read are F64, F32, F16"):
        checkpoint.weight("q")


def test_the_names_are_those_of_transformers(pair):
    assert not pair.reference.report["missing_keys"]
    assert not pair.reference.report["unexpected_keys"]
