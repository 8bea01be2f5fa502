"""What can be made again is kept for the next start: privately, bounded, never believed blindly."""

import os
from pathlib import Path

import pytest

from triptych.core.system.kept_files import KeptFiles, KeptFilesError


@pytest.fixture
def kept(tmp_path):
    return KeptFiles(tmp_path / "cache", 2**20)


def test_what_was_written_is_found_again_by_its_key_alone(kept):
    assert kept.of(b"a").read() is None
    kept.of(b"a").write(b"content")
    assert kept.of(b"a").read() == b"content"
    assert kept.of(b"b").read() is None
    assert len(kept.files()) == 1
    assert kept.folder.stat().st_mode & 0o777 == 0o700


def test_what_was_discarded_is_gone(kept):
    kept.of(b"a").write(b"content")
    kept.of(b"a").discard()
    assert kept.of(b"a").read() is None


def test_what_is_damaged_is_none(kept):
    kept.of(b"a").write(b"content")
    [(path, _)] = kept.files()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert kept.of(b"a").read() is None


def test_a_block_that_fails_changes_nothing(kept):
    def fail():
        with kept.of(b"a").writing() as target:
            target.write_bytes(b"half")
            raise ZeroDivisionError

    kept.of(b"a").write(b"before")
    with pytest.raises(ZeroDivisionError):
        fail()
    assert kept.of(b"a").read() == b"before"
    assert len(kept.files()) == 1


def test_where_the_disk_is_full_nothing_is_kept(kept, monkeypatch):
    def full(self, _):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    kept.of(b"a").write(b"content")
    assert kept.files() == []


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    kept = KeptFiles(tmp_path / "cache", most_bytes=3 * (32 + 10))
    for age, key in enumerate([b"a", b"b", b"c"]):
        kept.of(key).write(bytes(10))
        os.utime(kept.of(key).path, (age, age))
    assert kept.of(b"a").read() is not None
    kept.of(b"d").write(bytes(10))
    found = [key for key in (b"a", b"b", b"c", b"d") if kept.of(key).read() is not None]
    assert found == [b"a", b"c", b"d"]


def test_what_is_too_large_is_kept_empty(tmp_path):
    kept = KeptFiles(tmp_path / "cache", 2**20, largest=3)
    kept.of(b"a").write(b"1234")
    kept.of(b"b").write(b"123")
    assert (kept.of(b"a").read(), kept.of(b"b").read()) == (b"", b"123")


def test_a_folder_that_others_may_write_to_is_not_used(kept):
    kept.of(b"a").write(b"content")
    kept.folder.chmod(0o777)
    assert kept.of(b"a").read() is None
    with pytest.raises(KeptFilesError, match="others may write"):
        kept.prepare()
    with kept.of(b"a").writing() as target:
        assert target is None


def test_the_environment_names_the_folder_or_none(tmp_path, monkeypatch):
    def usual():
        return KeptFiles.usual("graphs", 7)

    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    assert usual() == KeptFiles(tmp_path / "graphs", 7)
    for off in ("off", "OFF"):
        monkeypatch.setenv("TRIPTYCH_CACHE", off)
        assert usual() is None
    monkeypatch.setenv("TRIPTYCH_CACHE", "~/kept")
    assert usual().folder == Path.home() / "kept" / "graphs"
    monkeypatch.setenv("TRIPTYCH_CACHE", "kept")
    assert usual().folder == Path.cwd() / "kept" / "graphs"
