"""Streamed text: every piece is certain, and the pieces add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from triptych.core.errors import InputError
from triptych.core.sequences.text_stream import CONTEXT, PATIENCE, StopStrings, TextStream

SAMPLES = [
    "Grüße, 你好世界。",
    "👩‍👩‍👧 👍🏽 🇩🇪",
    "e\u0301a\u0308\u0323",
    "\ufffd",
    "a\n\n\tb",
    "नमस्ते",
    " ",
]
UNHURRIED = settings(deadline=None)
"""A busy machine is no failure."""
TEXTS = st.lists(st.sampled_from(SAMPLES) | st.text(max_size=8), max_size=5).map("".join)


def from_bytes(tokens: Sequence[int]) -> str:
    """A tokenizer of one byte per token; 256 and above are special and give no text."""
    return bytes(token for token in tokens if token < 256).decode(errors="replace")


def cut(data: bytes, sizes: Sequence[int]) -> tuple[list[bytes], Callable[[Sequence[int]], str]]:
    """Data as tokens of the given sizes in bytes, repeated, and their decoder."""
    pieces: list[bytes] = []
    start = 0
    while start < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[start : start + size])
        start += size
    return pieces, lambda ids: b"".join(pieces[i] for i in ids).decode(errors="replace")


def stream(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[str]:
    text = TextStream(decode)
    return [*(text.push(token) for token in tokens), text.flush()]


@UNHURRIED
@given(TEXTS, st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_pieces_add_up_to_the_text_wherever_its_bytes_are_cut(text: str, sizes: list[int]) -> None:
    pieces, decode = cut(text.encode(), sizes)
    assert "".join(stream(range(len(pieces)), decode)) == text


@UNHURRIED
@given(TEXTS.filter(lambda text: "\ufffd" not in text), st.lists(st.integers(1, 6), min_size=1))
def test_a_piece_never_holds_half_a_character(text: str, sizes: list[int]) -> None:
    pieces, decode = cut(text.encode(), sizes)
    assert not any("\ufffd" in piece for piece in stream(range(len(pieces)), decode))


@UNHURRIED
@given(st.binary(max_size=200), st.lists(st.integers(1, 6), min_size=1, max_size=6))
@example(b"\x80" * 100, [1])
@example(b"\xf0\x9f\x91" * 40, [3])
@example(b"a\xf0\x9f" * 30, [2])
def test_bytes_that_are_no_text_add_up_too(data: bytes, sizes: list[int]) -> None:
    pieces, decode = cut(data, sizes)
    assert "".join(stream(range(len(pieces)), decode)) == data.decode(errors="replace")


@UNHURRIED
@given(TEXTS, st.integers(0, 40), st.data())
def test_special_tokens_may_stand_anywhere(text: str, count: int, data: st.DataObject) -> None:
    tokens = list(text.encode())
    for _ in range(count):
        tokens.insert(data.draw(st.integers(0, len(tokens))), 256)
    assert "".join(stream(tokens, from_bytes)) == text


def test_special_tokens_may_part_the_bytes_of_a_character() -> None:
    first, last = "é".encode()
    assert "".join(stream([first, *[256] * 50, last], from_bytes)) == "é"


def test_a_character_appears_with_its_last_byte() -> None:
    assert stream("a你".encode(), from_bytes) == ["a", "", "", "你", ""]


def test_an_unfinished_character_comes_with_the_flush() -> None:
    assert stream("é".encode()[:1], from_bytes) == ["", "\ufffd"]


def test_spaces_between_sentencepiece_words_are_kept() -> None:
    words = ["▁Hello", "▁wor", "ld", "▁", "▁!"]
    tokenizer = Tokenizer(models.Unigram([(word, 0.0) for word in words], 0))
    tokenizer.decoder = decoders.Metaspace()
    ids = [0, 1, 2, 3, 4, 4]
    pieces = stream(ids, tokenizer.decode)
    assert "".join(pieces) == tokenizer.decode(ids) == "Hello world  ! !"
    assert pieces[:3] == ["Hello", " wor", "ld"]


@pytest.mark.parametrize("token", [ord("x"), 0x80, 256])
def test_work_per_token_does_not_grow(token: int) -> None:
    longest = 0

    def decode(tokens: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(tokens))
        return from_bytes(tokens)

    stream([token] * 1000, decode)
    assert longest <= PATIENCE + CONTEXT + 1


def first_stop(text: str, stops: Sequence[str]) -> str | None:
    """The text before the stop string that is complete first, or None: letter by letter."""
    for end in range(len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            return text[: end - max(map(len, ended))]
    return None


STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=3)


@UNHURRIED
@given(st.lists(st.text("abc", max_size=3), max_size=12), STOPS)
@example(["a", "b", "c"], ["abc", "b"])
@example(["abc"], ["abc", "b"])
@example(["a", "ab"], ["aab"])
def test_text_ends_before_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    guard = StopStrings(stops)
    shown, hit = "", False
    for piece in pieces:
        part, hit = guard.push(piece)
        shown += part
        if hit:
            break
        assert not any(stop in shown for stop in stops)
    expected = first_stop("".join(pieces), stops)
    assert hit == (expected is not None)
    assert shown + guard.flush() == ("".join(pieces) if expected is None else expected)


def test_the_first_stop_string_is_the_leftmost_unless_one_holds_another() -> None:
    text, stops = "one two\n\nthree END", ["END", "\n\n", "three"]
    shown, hit = StopStrings(stops).push(text)
    assert hit
    assert shown == text[: min(text.find(stop) for stop in stops)]


def test_a_possible_beginning_is_held_back_and_given_when_it_was_none() -> None:
    guard = StopStrings(["</s>"])
    assert [guard.push(piece) for piece in ["a<", "/", "b", "</s"]] == [
        ("a", False),
        ("", False),
        ("</b", False),
        ("", False),
    ]
    assert guard.flush() == "</s"


def test_after_a_stop_string_nothing_is_shown() -> None:
    guard = StopStrings(["."])
    assert guard.push("a.b") == ("a", True)
    assert guard.push("c") == ("", True)
    assert guard.flush() == ""


def test_without_stop_strings_text_passes_at_once() -> None:
    assert StopStrings([]).push("text") == ("text", False)


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(InputError, match="may not be empty"):
        StopStrings(["a", ""])


def test_a_text_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(InputError, match=r"write \['END'\]"):
        StopStrings("END")
