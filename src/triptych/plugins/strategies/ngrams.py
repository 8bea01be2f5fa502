"""Where the last tokens of a text stood before."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice


class Ngrams:
    """A text that grows at its end, and for each of its n-grams the latest place it stood at.

    longest, shortest: of the n-grams, in tokens. A token more costs `longest` look-ups, however
    long the text is.
    """

    def __init__(self, longest: int, shortest: int = 1) -> None:
        self.tokens: list[int] = []
        self._sizes = range(longest, shortest - 1, -1)
        self._ends: dict[tuple[int, ...], int] = {}
        self._found: tuple[int, int] | None = None

    def extend(self, tokens: Iterable[int]) -> None:
        """Add tokens at the end."""
        text, ends = self.tokens, self._ends
        for token in tokens:
            text.append(token)
            end, self._found = len(text), None
            for size in self._sizes:
                if size > end:
                    continue
                gram = tuple(text[-size:])
                before = ends.get(gram)
                if before is not None and self._found is None:
                    self._found = before, size
                ends[gram] = end

    def last(self) -> tuple[int, int] | None:
        """What followed the last tokens when they stood there before.

        Of the longest n-gram that did, the index of the token after its latest place, and its
        length.
        """
        return self._found

    def after(self, index: int, count: int) -> list[int]:
        """The `count` tokens from `index` on; where the text ends, as if what follows repeated it.

        That is how a text with a period goes on: from a place `period` tokens before its end.
        """
        period = len(self.tokens) - index
        found = list(islice(self.tokens, index, index + count))
        while len(found) < count:
            found.append(found[len(found) - period])
        return found
