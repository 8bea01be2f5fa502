"""Requests that carry their pictures and videos, for machines that do not see our files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from triptych.core.request import Message, Request


def embedded(request: Request) -> Request:
    """The same request with the bytes of its files in the place of their paths.

    A folder that is a video becomes the list of its pictures. What cannot be read stays as it is:
    whoever answers the request says why.
    """
    messages = request.messages
    if isinstance(messages, Sequence):
        messages = [_message(message) for message in messages]
    return replace(
        request,
        messages=messages,
        images=_each(request.images, "image"),
        videos=_each(request.videos, "video"),
    )


def _each(media: Any, kind: str) -> Any:
    return [_content(one, kind) for one in media] if isinstance(media, list | tuple) else media


def _message(message: Message) -> Message:
    given: Any = message
    content = given.get("content") if isinstance(given, Mapping) else None
    if not isinstance(content, list | tuple):
        return message
    return {**message, "content": [_part(part) for part in content]}


def _part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind not in ("image", "video") or kind not in part:
        return part
    return {**part, kind: _content(part[kind], kind)}


def _content(value: Any, kind: str) -> Any:
    if kind == "video" and isinstance(value, list | tuple):
        return [_content(one, "image") for one in value]
    if not isinstance(value, str | PathLike):
        return value
    try:
        path = Path(fspath(value))
        if kind == "video" and path.is_dir():
            from triptych.plugins.processors.picture_clips import frames_of

            return [frame.read_bytes() for frame in frames_of(path)] or value
        return path.read_bytes() if path.is_file() else value
    except (OSError, ValueError, TypeError):
        return value
