"""A request's messages: checked, and with their images and generated ids set apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from math import inf
from os import PathLike
from typing import Any

from triptych.core.dataclass import dataclass
from triptych.core.errors import InputError
from triptych.core.request import Request

ROLES = ("system", "user", "assistant", "tool")
FIELDS = ("role", "content", "tokens", "name", "reasoning_content", "tool_calls", "tool_call_id")
"""What a message may hold; a field that nobody reads would be lost silently."""
PARTS: Mapping[str, tuple[str, ...]] = {"text": (), "image": (), "video": ("fps",)}
"""Types of content parts. Each has a key of that name, and may have these as well."""


@dataclass(frozen=True)
class MediaSource:
    """A medium as it was given, its kind, and its place in the request.

    fps: frames per second, where the request says so of a video.
    """

    kind: str
    value: Any
    place: str
    fps: float | None = None


@dataclass
class Conversation:
    """The messages of a request.

    messages: plain dictionaries. A content is text, a list of parts ``{"type": "text",
        "text": ...}``, ``{"type": "image"}`` and ``{"type": "video"}``, or None.
    tokens: the generated ids of a message, by its index.
    media: in the order of their parts.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    tokens: dict[int, tuple[int, ...]] = field(default_factory=dict)
    media: list[MediaSource] = field(default_factory=list)

    @classmethod
    def of(cls, request: Request) -> Conversation:
        """Read a request. Raises InputError that names the place and the remedy."""
        if (request.text is None) == (request.messages is None):
            found = "both" if request.text is not None else "neither"
            raise InputError(f"a request holds either text or messages; this one holds {found}")
        for name, media in _given(request):
            if isinstance(media, (str, bytes, PathLike)) or not isinstance(media, Sequence):
                raise InputError(f"{name} is a list, also for one: {name}=[...]")
        conversation = cls()
        if request.system is not None:
            conversation._add_system(request)
        if request.messages is None:
            conversation._add_question(request)
        else:
            conversation._add_messages(request)
        return conversation

    def _add_system(self, request: Request) -> None:
        messages: object = request.messages
        for index, message in enumerate(messages if isinstance(messages, Sequence) else ()):
            if isinstance(message, Mapping) and message.get("role") == "system":
                raise InputError(
                    f"the system message is given twice: as system and as messages[{index}]; "
                    "leave one out"
                )
        self.messages.append({"role": "system", "content": _text(request.system, "system")})

    def _add_question(self, request: Request) -> None:
        sources = [
            MediaSource(name.removesuffix("s"), value, f"{name}[{index}]")
            for name, media in _given(request)
            for index, value in enumerate(media)
        ]
        text = _text(request.text, "text")
        content: object = text
        if sources:
            content = [
                *({"type": source.kind} for source in sources),
                {"type": "text", "text": text},
            ]
        self.media += sources
        self.messages.append({"role": "user", "content": content})

    def _add_messages(self, request: Request) -> None:
        for name, media in _given(request):
            if len(media) > 0:
                kind = name.removesuffix("s")
                raise InputError(
                    f"{name} beside messages have no place; "
                    f'give each as a part of a message: {{"type": "{kind}", "{kind}": ...}}'
                )
        messages: object = request.messages
        if isinstance(messages, (str, Mapping)) or not isinstance(messages, Sequence):
            raise InputError('messages is a list: [{"role": "user", "content": "..."}]')
        if not messages:
            raise InputError("messages is empty; it needs at least one")
        for index, message in enumerate(messages):
            self._add_message(message, f"messages[{index}]")

    def _add_message(self, message: object, place: str) -> None:
        if not isinstance(message, Mapping):
            raise InputError(f"{place} must be a mapping with role and content")
        for name in message:
            if name not in FIELDS:
                raise InputError(f"{place}: unknown field {name!r}; known: {', '.join(FIELDS)}")
        role = message.get("role")
        if role not in ROLES:
            raise InputError(f"{place}.role is {role!r}; known: {', '.join(ROLES)}")
        known = {
            name: _plain(message[name], f"{place}.{name}")
            for name in FIELDS[3:]
            if message.get(name) is not None
        }
        tokens, content = message.get("tokens"), message.get("content")
        if tokens is not None:
            if role != "assistant":
                raise InputError(f"{place}.tokens: only an assistant's message was generated")
            self.tokens[len(self.messages)] = _ids(tokens, f"{place}.tokens")
            known["content"] = None
        elif content is not None:
            known["content"] = self._content(content, f"{place}.content")
        elif not known.get("tool_calls"):
            raise InputError(f"{place} has no content")
        self.messages.append({"role": role, **known})

    def _content(self, content: object, place: str) -> object:
        if isinstance(content, str):
            return _text(content, place)
        if isinstance(content, (bytes, Mapping)) or not isinstance(content, Sequence):
            raise InputError(f"{place} must be text or a list of parts, not {_kind(content)}")
        return [self._part(part, f"{place}[{index}]") for index, part in enumerate(content)]

    def _part(self, part: object, place: str) -> dict[str, Any]:
        kind: Any = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or kind not in PARTS:
            found = f"type {kind!r}" if isinstance(part, Mapping) else _kind(part)
            known = ", ".join(f'{{"type": "{name}", "{name}": ...}}' for name in PARTS)
            raise InputError(f"{place}: {found} is not a known part; known: {known}")
        if not {"type", kind} <= set(part) <= {"type", kind, *PARTS[kind]}:
            more = "".join(f", and may hold {name}" for name in PARTS[kind])
            raise InputError(
                f"{place}: a part of type {kind!r} holds exactly type and {kind}{more}"
            )
        if kind == "text":
            return {"type": "text", "text": _text(part["text"], f"{place}.text")}
        fps = _rate(part["fps"], f"{place}.fps") if "fps" in part else None
        self.media.append(MediaSource(kind, part[kind], place, fps))
        return {"type": kind}


def _given(request: Request) -> tuple[tuple[str, Sequence[Any]], ...]:
    """The media beside a request's text, by field, in the order in which they are shown."""
    return ("images", request.images), ("videos", request.videos)


def _rate(value: object, place: str) -> float:
    """Frames per second."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < inf:
        raise InputError(f"{place} is {value!r}; it must be frames per second, above 0")
    return float(value)


def _text(value: object, place: str) -> str:
    """A text that can be encoded."""
    if not isinstance(value, str):
        raise InputError(f"{place} must be text, not {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{place} holds half a surrogate pair at character {error.start}; "
            "decode it as UTF-16 first, or remove it"
        ) from error
    return str(value)


def _plain(value: object, place: str) -> Any:
    """A copy of plain data, the only kind that a template is given."""
    if isinstance(value, str):
        return _text(value, place)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {
            _text(key, f"{place} (a key)"): _plain(item, f"{place}.{key}")
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    raise InputError(f"{place} must be plain data, as JSON has it, not {_kind(value)}")


def _ids(value: object, place: str) -> tuple[int, ...]:
    """Token ids, from a list or an integer array."""
    tolist = getattr(value, "tolist", None)
    listed = tolist() if callable(tolist) else value
    if isinstance(listed, (list, tuple)) and all(
        isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in listed
    ):
        return tuple(listed)
    raise InputError(f"{place} must be a list of token ids")


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
