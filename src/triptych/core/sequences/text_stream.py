"""Text as it becomes certain: tokens to pieces, and stop strings that are never half shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from triptych.core.errors import InputError

HALF = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are not, or not yet, a character."""

PATIENCE = 16
"""Pending tokens after which bytes that never became a character are shown as `HALF`."""
CONTEXT = 8
"""Tokens kept as context once patience ran out; more than an unfinished character needs."""
WINDOW = 6
"""Shown tokens from which on the window moves: it is decoded a second time then."""
UNFINISHED = 3
"""The most bytes of an unfinished UTF-8 character, so of its tokens that have text."""


class TextStream:
    """Turns one generation's tokens into pieces of text, each certain when it is given.

    decode: token ids to text, with U+FFFD for bytes that are no character.

    A window of the latest tokens is decoded with and without the new one, and the difference
    is the piece; the window starts a piece or more back, since some decoders treat the first
    token of a text specially (SentencePiece drops its leading space). So the work per token does
    not grow with the text. The pieces, `flush` included, add up to the text of all tokens.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._settled = 0
        """How many of the window's tokens gave the pieces before the last one."""
        self._shown = 0
        """How many characters of the window's text were given out."""

    def push(self, token: int) -> str:
        """The text that is certain now and was not before; often empty."""
        self._window.append(token)
        text = self._decode(self._window)
        if text.endswith(HALF):
            return self._overdue(text, sure=len(text) - 1)
        if len(text) <= self._shown:
            return self._overdue(text, sure=len(text))
        piece = text[self._shown :]
        if self._settled < WINDOW:
            self._shown = len(text)
        else:
            del self._window[: self._settled]
            self._shown = len(self._decode(self._window))
        self._settled = len(self._window)
        return piece

    def flush(self) -> str:
        """The rest, an unfinished character as U+FFFD. The stream starts anew."""
        piece = self._decode(self._window)[self._shown :]
        self._window, self._settled, self._shown = [], 0, 0
        return piece

    def _overdue(self, text: str, sure: int) -> str:
        """What to show while no piece is complete: nothing, until patience runs out.

        sure: how many characters of `text` no later token changes.
        """
        if len(self._window) - self._settled <= PATIENCE:
            return ""
        context = self._decode(self._window[-CONTEXT:])
        unsure = len(text) - sure
        if unsure and len(context) <= UNFINISHED:
            return ""  # The character may begin further back: tokens without text stand between.
        piece = text[self._shown : sure]
        del self._window[:-CONTEXT]
        self._settled = 0
        self._shown = len(context) - unsure
        return piece


class StopStrings:
    """Ends a text before the first stop string, which may span pieces.

    The first is the one that is complete first; of several that end at the same character,
    the longest. So the result does not depend on how the text was cut into pieces.

    Raises InputError for an empty stop string, or a text in place of a list.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        if isinstance(strings, str):
            raise InputError(f"stop strings are a list; write [{strings!r}]")
        self._strings = tuple(strings)
        if not all(self._strings):
            raise InputError("a stop string may not be empty; leave it out")
        self._held = ""
        self._hit = False

    def push(self, text: str) -> tuple[str, bool]:
        """The text that may be shown now, and whether a stop string was met.

        After a hit every piece is empty.
        """
        if not self._strings:
            return text, False
        if self._hit:
            return "", True
        self._held += text
        match = self._first_match()
        if match is not None:
            shown, self._held, self._hit = self._held[:match], "", True
            return shown, True
        keep = self._beginning()
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown, False

    def flush(self) -> str:
        """What was held back as a possible beginning of a stop string."""
        held, self._held = self._held, ""
        return held

    def _first_match(self) -> int | None:
        """Where the first stop string in the held text starts, or None."""
        found = [
            (start + len(stop), start)
            for stop in self._strings
            if (start := self._held.find(stop)) >= 0
        ]
        return min(found)[1] if found else None

    def _beginning(self) -> int:
        """How many characters at the end of the held text may begin a stop string."""
        longest = max(map(len, self._strings), default=0)
        for size in range(min(longest - 1, len(self._held)), 0, -1):
            end = self._held[-size:]
            if any(stop.startswith(end) for stop in self._strings):
                return size
        return 0
