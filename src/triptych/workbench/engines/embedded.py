"""Requests that carry their pictures and videos, for machines that do not see our files."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

from triptych.core.request import Request
from triptych.core.requests.request_media import with_media


def embedded(request: Request) -> Request:
    """The same request with the bytes of its files in the place of their paths.

    A folder that is a video becomes the list of its pictures. What cannot be read stays as it is:
    whoever answers the request says why.
    """
    return with_media(request, lambda value, kind, _place: _content(value, kind))


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
