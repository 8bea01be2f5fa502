"""Media put in the place of their placeholders, in the texts that a chat template rendered."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

import numpy as np

from triptych.core.dataclass import dataclass
from triptych.core.prompt import Media, Prompt
from triptych.plugins.processors.expansion import Rows
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.media_kind import Opened

MERGED = (
    "the tokenizer does not keep every media placeholder as one token of its own; its added "
    "tokens and the folder's placeholders disagree"
)


class Placeholders:
    """Finds placeholders in text.

    tokens: by kind of media, the placeholder's text and id.
    """

    def __init__(self, tokens: Mapping[str, tuple[str, int]]) -> None:
        self.kinds = {text: kind for kind, (text, _) in tokens.items()}
        self.ids = frozenset(index for _, index in tokens.values())
        longest_first = sorted(self.kinds, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def count(self, texts: Iterable[str]) -> Counter[str]:
        """How many placeholders of each kind there are."""
        return Counter(
            self.kinds[found[0]] for text in texts for found in self.pattern.finditer(text)
        )


@dataclass
class _Placed:
    """A medium in its place, and the tokens of its rows so far."""

    kind: str
    opened: Opened
    at: list[int] = field(default_factory=list)


class Placement:
    """Collects a prompt, piece by piece.

    media: those of the request by kind, in the order of their placeholders; there is one for
        each placeholder that `expanded` will meet.
    """

    def __init__(self, placeholders: Placeholders, media: Mapping[str, Iterable[Opened]]) -> None:
        self._placeholders = placeholders
        self._waiting: dict[str, Iterator[Opened]] = {
            kind: iter(items) for kind, items in media.items()
        }
        self._placed: list[_Placed] = []
        self._rows: deque[tuple[_Placed, Rows]] = deque()
        self._tokens: list[int] = []

    def expanded(self, text: str) -> str:
        """A text with its media's expansions; for each run of rows it holds one placeholder."""
        result = ""
        begin = 0
        for found in self._placeholders.pattern.finditer(text):
            kind = self._placeholders.kinds[found[0]]
            item = _Placed(kind, next(self._waiting[kind]))
            self._placed.append(item)
            result += text[begin : found.start()]
            begin = found.end()
            for piece in item.opened.expansion.pieces:
                if isinstance(piece, str):
                    result += piece
                elif piece.count:
                    result += found[0]
                    self._rows.append((item, piece))
        return result + text[begin:]

    def keep(self, tokens: Iterable[int]) -> None:
        """Append ids as they are; a placeholder among them is text."""
        self._tokens += tokens

    def add(self, tokens: Iterable[int]) -> None:
        """Append the ids of an expanded text, each placeholder repeated for its run of rows.

        Raises ProcessorError when the tokenizer did not keep the placeholders apart.
        """
        for token in tokens:
            if token not in self._placeholders.ids:
                self._tokens.append(token)
                continue
            if not self._rows:
                raise ProcessorError(MERGED)
            item, run = self._rows.popleft()
            begin = len(self._tokens)
            item.at += range(begin, begin + run.count)
            self._tokens += [token] * run.count
        if self._rows:
            raise ProcessorError(MERGED)

    def prompt(self) -> Prompt:
        """What was collected."""
        media = tuple(
            Media(
                item.kind,
                item.opened.digest,
                np.array(item.at, np.int64),
                item.opened.compute,
                item.opened.expansion,
            )
            for item in self._placed
        )
        return Prompt(np.array(self._tokens, np.int64), media)
