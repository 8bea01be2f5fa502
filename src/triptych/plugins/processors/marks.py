"""Characters that stand in for what a chat template must carry through untouched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from triptych.core.errors import InputError

PRIVATE = range(0x100000, 0x10FFFE)
"""Unicode's last private-use plane; no text that means something holds its characters."""


class Marks:
    """Gives out marks: single characters, so that no method of text can cut one in two.

    special: a model's special tokens. data: all that will be rendered; marks do not occur in it.

    literal: marks of texts that spell out a special token, and those texts.
    tokens: marks of generated contents, and their ids.
    """

    def __init__(self, special: Iterable[str], *data: object) -> None:
        self.literal: dict[str, str] = {}
        self.tokens: dict[str, tuple[int, ...]] = {}
        taken = "".join(text for item in data for text in _texts(item))
        self._free = (chr(code) for code in PRIVATE if chr(code) not in taken)
        self._spelled = _spelling(special)

    def hide(self, value: Any) -> Any:
        """A copy of plain data in which no text spells out a special token."""
        if isinstance(value, str):
            return self._spelled.sub(lambda found: self._literal(found[0]), value)
        if isinstance(value, Mapping):
            return {self.hide(key): self.hide(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.hide(item) for item in value]
        return value

    def keep(self, tokens: tuple[int, ...]) -> str:
        """A content that will become these very ids."""
        mark = self._new()
        self.tokens[mark] = tokens
        return mark

    def split(self, rendered: str) -> Iterator[str]:
        """The rendered text, cut at the marks of generated contents, which are items themselves.

        Raises InputError unless each of them was rendered once.
        """
        for mark in self.tokens:
            count = rendered.count(mark)
            if count != 1:
                raise InputError(
                    f"the chat template renders an assistant's message {count} times, so its "
                    "generated tokens cannot be kept; give its content instead of tokens"
                )
        if not self.tokens:
            yield rendered
            return
        yield from re.split(f"([{''.join(self.tokens)}])", rendered)

    def _literal(self, text: str) -> str:
        """The mark of a text, one for each different text."""
        for mark, known in self.literal.items():
            if known == text:
                return mark
        mark = self._new()
        self.literal[mark] = text
        return mark

    def _new(self) -> str:
        try:
            return next(self._free)
        except StopIteration:
            raise InputError("the request uses up Unicode's private-use characters") from None


def _spelling(special: Iterable[str]) -> re.Pattern[str]:
    """Matches special tokens, and at the end of a text what the next text may complete to one."""
    whole = sorted(special, key=len, reverse=True)
    begun = {token[:size] for token in whole for size in range(1, len(token))}
    either = [re.escape(token) for token in whole]
    either += [re.escape(text) + r"\Z" for text in sorted(begun, key=len, reverse=True)]
    return re.compile("|".join(either) or r"(?!)")


def _texts(value: object) -> Iterator[str]:
    """Every text in plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
