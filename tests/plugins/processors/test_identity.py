"""A source is known again as long as nothing about it has changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.plugins.processors.identity import Recent, identity


def test_a_file_is_the_same_until_it_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(b"first")
    before = identity(path)
    monkeypatch.chdir(tmp_path)
    assert before is not None
    assert before == identity(str(path)) == identity("a.gif")
    path.write_bytes(b"longer")
    assert identity(path) != before
    longer = identity(path)
    os.utime(path, ns=(0, 0))
    assert identity(path) != longer


def test_a_folder_is_the_same_until_one_of_its_files_changes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"1")
    before = identity(tmp_path)
    assert before is not None
    assert before == identity(tmp_path)
    (tmp_path / "b").write_bytes(b"12")
    after = identity(tmp_path)
    assert after != before
    (tmp_path / "c").write_bytes(b"")
    assert identity(tmp_path) not in (before, after)


def test_bytes_count_by_content_and_lists_by_their_parts(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    assert identity(b"abc") == identity(bytearray(b"abc")) != identity(b"abd")
    listed = [tmp_path / "a.png", b"abc"]
    assert identity(listed) == identity(tuple(listed)) != identity(listed[::-1])


def test_what_may_change_unseen_has_no_identity(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 2))
    for source in (picture, np.zeros((2, 2, 2, 3)), [b"abc", picture], tmp_path / "none", 7):
        assert identity(source) is None


def test_the_least_recently_used_go_first() -> None:
    recent: Recent[int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert [recent.get(key) for key in ("a", "b", "c", None)] == [1, None, 3, None]
    recent.put(None, 4)
    assert recent.get(None) is None
