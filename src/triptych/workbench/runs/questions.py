"""An item of the data as a report shows it: its words, and its pictures made small."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from triptych.core.dataset import Item
from triptych.core.errors import TriptychError
from triptych.core.requests.request_media import media_of
from triptych.plugins.processors.images import open_image
from triptych.workbench.results import Question
from triptych.workbench.runs.store import StoreError

LONGEST_SIDE = 320
"""Pixels of a picture in a report."""

PIXEL_LIMIT = 64_000_000

_QUALITY = 80
_FEW_COLORS = 256


def question_of(item: Item) -> Question:
    """What a report shows of an item. A picture that cannot be read is left out: its run says."""
    pictures = (_small(source) for source in media_of(item.request, "image"))
    return Question(
        item.id,
        text_of(item),
        _as_json(item),
        item.task,
        item.cluster,
        tuple(picture for picture in pictures if picture is not None),
    )


def check_question(known: Question, item: Item) -> None:
    """Raises StoreError where an item is not the one that was there."""
    now = (item.id, text_of(item), _as_json(item), item.task, item.cluster)
    was = (known.id, known.question, known.reference, known.task, known.cluster)
    if now != was:
        raise StoreError(
            f"the data has changed: where item {known.id!r} was, there is now {item.id!r}, or "
            "another question or reference; put the data back to go on, or name another --out"
        )


def text_of(item: Item) -> str:
    """The question: the text of the request, or of the user's last message."""
    if item.request.text is not None:
        return item.request.text
    messages: object = item.request.messages
    for message in reversed(messages if isinstance(messages, Sequence) else ()):
        if isinstance(message, Mapping) and message.get("role") == "user":
            content = message.get("content")
            return content if isinstance(content, str) else "\n".join(_texts(content))
    return ""


def _texts(content: Any) -> list[str]:
    """The parts of a message's content that are text."""
    parts = content if isinstance(content, list | tuple) else ()
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return [text for text in texts if isinstance(text, str)]


def _small(source: object) -> bytes | None:
    """PNG where that is small, as of drawings; else JPEG."""
    try:
        picture = open_image(source, "images", pixel_limit=PIXEL_LIMIT)
    except TriptychError:
        return None
    if max(picture.size) > LONGEST_SIDE:
        picture = picture.copy()
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    drawn = picture.getcolors(_FEW_COLORS) is not None
    content = BytesIO()
    picture.save(content, "PNG" if drawn else "JPEG", **({} if drawn else {"quality": _QUALITY}))
    return content.getvalue()


def _as_json(item: Item) -> Any:
    """The reference as it comes back from the database. Raises StoreError."""
    try:
        return json.loads(json.dumps(item.reference))
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the reference of item {item.id!r} has no form in JSON: {error}; the dataset gives "
            "texts, numbers, lists and mappings"
        ) from error
