"""A file that was read before says the same, at the same places, without being parsed."""

import hashlib

import pytest

from triptych.core.config import reader
from triptych.core.config.kept_tree import read_kept
from triptych.core.config.reader import read_yaml
from triptych.core.config_error import ConfigError

TEXT = b"format: 1\nstages:\n  - {a: [1, 2.5, yes, true, null, .inf], b: {}}\n  - &x []\n  - *x\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    return tmp_path / "trees"


def test_a_second_reading_has_the_same_values_and_places_and_parses_nothing(monkeypatch):
    parsed = read_yaml(TEXT, "p.yaml")
    read_kept(TEXT, "other.yaml")
    monkeypatch.setattr(reader, "read_yaml", None)
    again = read_kept(TEXT, "p.yaml")
    assert repr(again) == repr(parsed)
    assert list(again.walk()) == list(parsed.walk())


def test_other_bytes_are_parsed():
    read_kept(TEXT, "p.yaml")
    assert read_kept(TEXT.replace(b"format: 1", b"format: 2"), "p.yaml").child("format").value == 2


def test_a_wrong_file_is_told_of_each_time_and_leaves_nothing(folder):
    told = []
    for _ in range(2):
        with pytest.raises(ConfigError) as error:
            read_kept(b"a: 1\na: 2\n", "p.yaml")
        told.append(str(error.value))
    assert told[0] == told[1]
    assert "p.yaml:2:1" in told[0]
    assert not list(folder.glob("*"))


@pytest.mark.parametrize(
    "content", [b"{", b"[1, 2]", b'["1", 1, 2]', b'[1, 1, {"a": [1]}]', b"7", b"[" * 100_000]
)
def test_what_is_no_tree_is_passed_over(folder, content):
    read_kept(TEXT, "p.yaml")
    [kept] = folder.iterdir()
    kept.write_bytes(hashlib.sha256(content).digest() + content)
    assert repr(read_kept(TEXT, "p.yaml")) == repr(read_yaml(TEXT, "p.yaml"))


def test_a_damaged_tree_is_passed_over(folder):
    read_kept(TEXT, "p.yaml")
    [kept] = folder.iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"format", b"forman"))
    assert repr(read_kept(TEXT, "p.yaml")) == repr(read_yaml(TEXT, "p.yaml"))
