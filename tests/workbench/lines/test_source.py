"""The lines of the input."""

import io

import pytest

from triptych import InputError
from triptych.workbench.lines import source
from triptych.workbench.lines.source import Fingerprint, Line, fingerprint, lines_of


def numbered(content, **options):
    return [(line.number, line.content) for line in lines_of(io.BytesIO(content), **options)]


def test_lines_have_the_numbers_that_an_editor_shows():
    assert numbered(b"a\n\n \t\nb\n") == [(1, b"a\n"), (4, b"b\n")]


def test_the_last_line_needs_no_newline():
    assert numbered(b"a\nb") == [(1, b"a\n"), (2, b"b")]


def test_what_was_done_is_skipped():
    assert numbered(b"a\nb\nc\n", after=2) == [(3, b"c\n")]


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    assert numbered(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}") == [(1, b"{}\n"), (2, b"\xef\xbb\xbf{}")]


def test_each_line_says_where_it_ends():
    found = list(lines_of(io.BytesIO(b"one\n\ntwo\n")))
    assert found == [Line(1, b"one\n", 4), Line(3, b"two\n", 9)]


def test_a_line_that_is_too_long_is_passed_over_in_pieces(monkeypatch):
    monkeypatch.setattr(source, "LARGEST", 10)
    monkeypatch.setattr(source, "_STEP", 7)
    found = list(lines_of(io.BytesIO(b"0123456789\n" + b"x" * 50 + b"\nshort\n")))
    assert found == [Line(1, None, 11), Line(2, None, 62), Line(3, b"short\n", 68)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "in.jsonl"


def of(file, content, known=None):
    file.write_bytes(content)
    return fingerprint(file, known)


def test_a_fingerprint_is_the_sha_256_of_a_file(file):
    found, same = of(file, b"abc")
    # The digest of "abc" in FIPS 180-2, appendix B.1.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (found, same) == (Fingerprint(3, known), True)


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        (b"a\nb\n", b"a\nb\n", True),
        (b"a\nb\n", b"a\nb\nc\n", True),
        (b"a\nb", b"a\nb", True),
        (b"a\nb", b"a\nb\nc", True),
        (b"a\nb", b"a\nbc\n", False),
        (b"a\nb\n", b"a\nc\n", False),
        (b"a\nb\n", b"a\n", False),
        (b"", b"a\n", True),
    ],
)
def test_a_file_is_the_same_when_lines_were_only_added(file, before, now, same):
    known, _ = of(file, before)
    assert of(file, now, known)[1] is same


def test_that_holds_for_files_of_many_steps(file, monkeypatch):
    monkeypatch.setattr(source, "_STEP", 5)
    known, _ = of(file, b"line one\nline two\n")
    assert of(file, b"line one\nline two\nline three\n", known)[1]
    assert not of(file, b"line one\nline 2..\nline three\n", known)[1]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"in.jsonl: cannot be read: No such file"):
        fingerprint(tmp_path / "in.jsonl")
