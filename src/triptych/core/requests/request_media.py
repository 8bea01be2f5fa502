"""The pictures and videos of a request, wherever they stand in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from triptych.core.request import Request

KINDS = ("image", "video")
"""What a part of a message shows; it holds that under the key of its type."""

Change = Callable[[Any, str, str], Any]
"""Called with a medium as it was given, its kind and its place (``messages[0].content[1].image``);
gives what stands there instead. A video that is a list of pictures is one medium."""


def with_media(request: Request, change: Change) -> Request:
    """The same request with what `change` makes of each picture and video.

    Messages and their parts are copied. What has no form that a request knows stays as it is:
    the processor says what is wrong with it.
    """
    messages: Any = request.messages
    if _is_list(messages):
        messages = [
            _message(message, f"messages[{index}]", change)
            for index, message in enumerate(messages)
        ]
    return replace(
        request,
        images=_each(request.images, "image", "images", change),
        videos=_each(request.videos, "video", "videos", change),
        messages=messages,
    )


def media_of(request: Request, kind: str) -> list[Any]:
    """The media of one kind, as they were given, in their order."""
    found = []

    def note(value: Any, its_kind: str, _place: str) -> Any:
        if its_kind == kind:
            found.append(value)
        return value

    with_media(request, note)
    return found


def _each(media: Any, kind: str, name: str, change: Change) -> Any:
    if not _is_list(media):
        return media
    return [change(value, kind, f"{name}[{index}]") for index, value in enumerate(media)]


def _message(message: Any, place: str, change: Change) -> Any:
    if not isinstance(message, Mapping):
        return message
    content = message.get("content")
    if not _is_list(content):
        return dict(message)
    parts = [_part(part, f"{place}.content[{index}]", change) for index, part in enumerate(content)]
    return {**message, "content": parts}


def _part(part: Any, place: str, change: Change) -> Any:
    if not isinstance(part, Mapping):
        return part
    kind = part.get("type")
    if kind not in KINDS or kind not in part:
        return dict(part)
    return {**part, kind: change(part[kind], kind, f"{place}.{kind}")}


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
