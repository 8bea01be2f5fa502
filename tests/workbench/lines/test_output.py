"""The file that records are appended to."""

import os
from pathlib import Path

import pytest

from triptych import InputError
from triptych.workbench.lines.output import Done, OutputError, OutputFile

ONE = b'{"line": 1, "text": "a"}\n'
TWO = b'{"line": 2, "error": "b"}\n'
SIX = b'{"line": 6, "id": "x", "text": "c"}\n'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.jsonl"


def test_what_was_written_is_found_again(path):
    with OutputFile.open(path) as output:
        for content in (ONE, TWO, SIX):
            output.write(content)
    with OutputFile.open(path) as output:
        assert output.done() == Done(records=3, failed=1, line=6, end=len(ONE + TWO + SIX))


@pytest.mark.parametrize("torn", [b"", TWO[:1], TWO[:-1], TWO[:12]])
def test_a_torn_last_line_is_cut(path, torn):
    path.write_bytes(ONE + torn)
    with OutputFile.open(path) as output:
        done = output.done()
        assert done == Done(1, 0, 1, len(ONE))
        output.go_on(done.end)
        output.write(SIX)
    assert path.read_bytes() == ONE + SIX


@pytest.mark.parametrize("foreign", [b"hello\n", b'{"line": 1, "text": "again"}\n', b"\0\0\n"])
def test_a_line_that_it_did_not_write_is_refused_and_stays(path, foreign):
    path.write_bytes(ONE + foreign)
    with (
        OutputFile.open(path) as output,
        pytest.raises(InputError, match=r"line 2 is not what triptych batch wrote there"),
    ):
        output.done()
    assert path.read_bytes() == ONE + foreign


def test_only_one_has_it_at_a_time(path):
    with (
        OutputFile.open(path),
        pytest.raises(InputError, match="another process is writing it"),
    ):
        OutputFile.open(path)
    OutputFile.open(path).close()


def test_a_record_that_does_not_fit_leaves_the_whole_ones(path, monkeypatch):
    with OutputFile.open(path) as output:
        output.write(ONE)
        write = os.write

        def full(handle, content):
            if len(content) < 10:
                raise OSError(28, "No space left on device")
            return write(handle, bytes(content[:9]))

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OutputError, match=r"No space left on device; make room, and the same"):
            output.write(TWO)
    assert path.read_bytes() == ONE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
def test_a_device_that_is_full_is_named():
    with (
        OutputFile.open(Path("/dev/full")) as output,
        pytest.raises(OutputError, match=r"^/dev/full: cannot be written: No space left"),
    ):
        output.write(ONE)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent.out.jsonl: cannot be written: No such file"):
        OutputFile.open(tmp_path / "absent" / "out.jsonl")
    with pytest.raises(InputError, match=r"cannot be written: Is a directory"):
        OutputFile.open(tmp_path)
