"""Saved conversations: JSON with the messages, the generated ids, pictures and videos."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from triptych.core.errors import InputError
from triptych.core.request import Message
from triptych.core.system.file_version import unread_version

FORMAT = "triptych-chat"
VERSION = 1
"""The version of the file that this release writes, and the latest that it reads."""

ROLES = ("system", "user", "assistant")
NOUNS = {"image": "picture", "video": "video"}
"""Types of parts that show something, and what people call it."""


@dataclass(frozen=True)
class Conversation:
    """pipeline: what the token ids of the messages belong to. settings: those of its calls."""

    pipeline: str
    messages: Sequence[Message]
    settings: Mapping[str, Any] = field(default_factory=dict)


def question(text: str, images: Sequence[Any] = (), videos: Sequence[Any] = ()) -> Message:
    """A user's message."""
    parts = [{"type": "image", "image": image} for image in images]
    parts += [{"type": "video", "video": video} for video in videos]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def write(path: Path, conversation: Conversation) -> None:
    """Write a conversation as JSON.

    Pictures and videos that were given by path stay paths, absolute ones; bytes are written as
    base64. Raises InputError for others, and when the file cannot be written.
    """
    head = {
        "format": FORMAT,
        "version": VERSION,
        "pipeline": conversation.pipeline,
        "settings": dict(conversation.settings),
    }
    messages = [_json(_message_out(message)) for message in conversation.messages]
    # A message a line, for people who look inside.
    text = f'{_json(head)[:-1]}, "messages": [\n' + ",\n".join(messages) + "\n]}\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def read(path: Path) -> Conversation:
    """Read what `write` wrote. Raises InputError that says what is wrong, and where."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path}: is not a conversation that /save wrote")
    fault = unread_version(document.get("version"), VERSION, "version")
    if fault is not None:
        raise InputError(f"{path}: {fault}")
    messages, settings = document.get("messages"), document.get("settings")
    if not isinstance(messages, list):
        raise InputError(f"{path}: messages is not a list")
    if not isinstance(settings, dict):
        raise InputError(f"{path}: settings is not an object")
    found = [_message_in(one, f"{path}: messages[{i}]") for i, one in enumerate(messages)]
    return Conversation(str(document.get("pipeline")), found, settings)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _message_out(message: Message) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return dict(message)
    return {**message, "content": [_part_out(part) for part in content]}


def _part_out(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part["type"]
    if kind not in NOUNS:
        return dict(part)
    value = part[kind]
    known = {name: part[name] for name in part if name != kind}
    if isinstance(value, bytes | bytearray):
        return {**known, "base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, str | PathLike):
        return {**known, "path": str(Path(fspath(value)).absolute())}
    noun = NOUNS[kind]
    raise InputError(
        f"a {noun} of type {type(value).__name__} cannot be saved; give {noun}s as paths or bytes"
    )


def _message_in(message: object, place: str) -> Message:
    if not isinstance(message, dict):
        raise InputError(f"{place} is not an object")
    role, content, tokens = (message.get(key) for key in ("role", "content", "tokens"))
    if role not in ROLES:
        raise InputError(f"{place}.role is {role!r}; known: {', '.join(ROLES)}")
    found: dict[str, Any] = {"role": role}
    if isinstance(content, list):
        found["content"] = [_part_in(p, f"{place}.content[{i}]") for i, p in enumerate(content)]
    elif isinstance(content, str):
        found["content"] = content
    else:
        raise InputError(f"{place}.content is neither text nor a list of parts")
    if tokens is not None:
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise InputError(f"{place}.tokens is not a list of token ids")
        found["tokens"] = tokens
    return found


def _part_in(part: object, place: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if isinstance(part, dict) and kind in NOUNS:
        known = {name: part[name] for name in part if name not in ("path", "base64")}
        if isinstance(part.get("path"), str):
            return {**known, kind: part["path"]}
        if isinstance(part.get("base64"), str):
            try:
                return {**known, kind: base64.b64decode(part["base64"], validate=True)}
            except binascii.Error as error:
                raise InputError(f"{place}.base64 is broken: {error}") from error
    raise InputError(f"{place} is neither a text nor an image or video with a path or base64")
