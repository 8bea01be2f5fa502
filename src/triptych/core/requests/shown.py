"""The pictures and videos that a conversation has shown, as they were when it showed them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Any, NamedTuple

from triptych.core.prompt import Media
from triptych.core.request import Message

KINDS = ("image", "video")


class _Known(NamedTuple):
    """A part of a message, what it held, and the medium that was made of it."""

    part: Mapping[str, Any]
    held: Mapping[str, Any]
    media: Media


class Shown:
    """Media by the parts of messages that they were made of.

    Only of files: a picture in memory costs little to look at again, and may be drawn on. A part
    that is edited, or another that names the same file, is read like any new one.
    """

    def __init__(self, known: Iterable[_Known] = ()) -> None:
        self._known = tuple(known)

    def after(self, messages: Iterable[Message], media: Iterable[Media]) -> Shown:
        """What is known once a prompt of these messages was made, with its media."""
        waiting: dict[str, list[Media]] = defaultdict(list)
        for item in media:
            waiting[item.kind].append(item)
        known: list[_Known] = []
        for part in _media_parts(messages):
            # A processor of other habits may give no medium for a part.
            made = next(iter(waiting[part["type"]]), None)
            del waiting[part["type"]][:1]
            if made is not None and made.layout is not None and _is_file(part):
                # The first that was made of it, or each turn would add a link to a chain.
                known.append(_Known(part, dict(part), self._media(part) or made))
        return Shown(known)

    def in_place(self, messages: Iterable[Message]) -> list[Message]:
        """The messages, with media in the place of the files that they were made of."""
        return [self._message(message) for message in messages]

    def _message(self, message: Message) -> Message:
        content = message.get("content")
        if not self._known or not isinstance(content, list):
            return message
        return {**message, "content": [self._part(part) for part in content]}

    def _part(self, part: Any) -> Any:
        media = self._media(part)
        return part if media is None else {**part, part["type"]: media}

    def _media(self, part: Any) -> Media | None:
        for known in self._known:
            if known.part is part and known.held == part:
                return known.media
        return None


def _media_parts(messages: Iterable[Message]) -> Iterator[Mapping[str, Any]]:
    """The media parts of messages, in order."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping) and part.get("type") in KINDS:
                yield part


def _is_file(part: Mapping[str, Any]) -> bool:
    """Whether a part names a file, or holds its bytes."""
    return isinstance(part.get(str(part.get("type"))), (str, bytes, PathLike))
