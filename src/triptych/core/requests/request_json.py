"""Requests as JSON has them: the lines of a batch, and of a dataset's file."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from triptych.core.errors import InputError
from triptych.core.messages import guess
from triptych.core.request import Request
from triptych.core.requests.request_media import with_media

FIELDS = ("text", "messages", "images", "videos", "system", "settings", "id")
"""The fields of a request; see `Request`."""

_DATA = "data:"
_BASE64 = ";base64"


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object that a line is, in UTF-8. Raises InputError."""
    try:
        document = json.loads(line.decode("utf-8").rstrip())
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8: byte {error.start + 1} is no text") from error
    except json.JSONDecodeError as error:
        cause = error.msg.removesuffix(" at")
        raise InputError(f"is not JSON: {cause} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON that can be read: {error}") from error
    if not isinstance(document, dict):
        raise InputError('is not a JSON object, as in {"text": "What is this?"}')
    return document


def request_of(document: Mapping[str, Any], folder: Path, *, also: Collection[str] = ()) -> Request:
    """The request that a JSON object says.

    document: `FIELDS` as in `Request`, each null or absent where there is none. A picture or video
        is a path, a ``data:`` address with base64 in it, ``{"path": ...}`` or
        ``{"base64": ...}``; a video may be a list of pictures. An id may be a whole number.
    folder: where relative paths start. also: further fields, which are somebody else's.

    Files are not opened. Raises InputError that names the field.
    """
    known = (*FIELDS, *also)
    for name in document:
        if name not in known:
            hint = guess(name, known)
            raise InputError(f"there is no field {name!r}{hint} (fields: {', '.join(known)})")
    settings = document.get("settings")
    if settings is not None and not isinstance(settings, dict):
        raise InputError('settings must be an object, as in {"temperature": 0.3}')
    asked = Request(
        document.get("text"),
        document.get("messages"),
        _listed(document, "images"),
        document.get("system"),
        settings or {},
        _id(document.get("id")),
        _listed(document, "videos"),
    )
    return with_media(asked, lambda value, kind, place: _medium(value, kind, folder, place))


def _id(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InputError("id must be text or a whole number")


def _listed(document: Mapping[str, Any], name: str) -> list[Any]:
    """The pictures or videos of a field."""
    found = document.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise InputError(f"{name} is a list, also for one")
    return found


def _medium(value: Any, kind: str, folder: Path, place: str) -> Any:
    """A path from `folder`, or bytes; for a video perhaps a list of these."""
    match value:
        case str() if value[: len(_DATA)].lower() == _DATA:
            head, comma, content = value.partition(",")
            if not comma or not head.lower().endswith(_BASE64):
                raise InputError(f"{place}: of data: addresses those with ;base64, are known")
            return _decoded(content, place)
        case str(path):
            return _located(path, folder)
        case {"path": str(path)} if len(value) == 1:
            return _located(path, folder)
        case {"base64": str(content)} if len(value) == 1:
            return _decoded(content, place)
        case list() if kind == "video":
            return [_medium(one, "image", folder, f"{place}[{i}]") for i, one in enumerate(value)]
    pictures = ", or a list of pictures" if kind == "video" else ""
    raise InputError(
        f'{place} must be a path, a data: address, {{"path": ...}} or {{"base64": ...}}{pictures}'
    )


def _located(path: str, folder: Path) -> str:
    return path if "://" in path else str(folder / path)


def _decoded(text: str, place: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{place} is not base64: {error}") from error
