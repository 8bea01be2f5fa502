"""How many fields of a JSON document an answer has right."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from triptych.core.config import settings as core
from triptych.core.dataset import Item
from triptych.core.errors import InputError
from triptych.core.metric import Answer

Path = tuple[str | int, ...]

_FENCE = "```"


class JSONFields:
    """`json_fields`: F1 of the fields, as Donut scores them; `json_valid`: 1 if it is JSON at all.

    A field is a text, number or truth with the keys that lead to it (arXiv 2111.15664, section
    3.2). It counts where the answer has the same, as often as both have it; `1` and `"1"` are the
    same. By default a place in a list is no part of a field, so that neither the order of a list
    counts, nor which of its objects a field is in. A block of Markdown around the answer does
    not count. An answer that is no JSON has no fields.

    The reference is an object, a list, or text that is JSON.
    """

    class Settings(core.Settings):
        """lists: ``unordered``, or ``ordered``, where places must be the same, too."""

        lists: Literal["unordered", "ordered"] = "unordered"

    def __init__(self, settings: Settings) -> None:
        self.ordered = settings.lists == "ordered"

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Both between 0 and 1."""
        wanted = Counter(self._fields(_reference(item)))
        said: Counter[tuple[Path, str]] = Counter()
        try:
            said.update(self._fields(json.loads(_unfenced(answer.reply.text))))
        except (ValueError, RecursionError):
            # Who repeats one bracket for ever has said nothing.
            return {"json_fields": 0.0, "json_valid": 0.0}
        both = (wanted & said).total()
        every = wanted.total() + said.total()
        return {"json_fields": 2 * both / every if every else 1.0, "json_valid": 1.0}

    def _fields(self, document: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
        if isinstance(document, dict):
            for key, value in document.items():
                yield from self._fields(value, (*path, key))
        elif isinstance(document, list):
            for place, value in enumerate(document):
                yield from self._fields(value, (*path, place) if self.ordered else path)
        elif isinstance(document, str):
            yield path, document.strip()
        else:
            yield path, json.dumps(document)


def _reference(item: Item) -> Any:
    if not isinstance(item.reference, str):
        return item.reference
    try:
        return json.loads(item.reference)
    except ValueError as error:
        raise InputError(f"item {item.id!r}: the reference is no JSON: {error}") from error


def _unfenced(text: str) -> str:
    """What stands in a block of Markdown, if that is all there is."""
    bare = text.strip()
    if bare.startswith(_FENCE) and bare.endswith(_FENCE) and "\n" in bare:
        return bare[bare.index("\n") : -len(_FENCE)]
    return bare
