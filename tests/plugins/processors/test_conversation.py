"""Requests: checked field by field, and refused with the place and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.core.errors import InputError
from triptych.core.request import Request
from triptych.plugins.processors.conversation import Conversation

USER = {"role": "user", "content": "a"}


def user(*parts: object) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


REFUSED: list[tuple[Request, str]] = [
    (Request(), "a request holds either text or messages; this one holds neither"),
    (Request(text="a", messages=[USER]), "either text or messages; this one holds both"),
    (Request(text=b"a"), "text must be text, not bytes"),  # type: ignore[arg-type]
    (Request(text="a", system=1), "system must be text, not int"),  # type: ignore[arg-type]
    (Request(text="a\ud83d"), "text holds half a surrogate pair at character 1"),
    (Request(text="a", images="a.png"), r"images is a list, also for one: images=\[...\]"),
    (Request(text="a", images=Path("a.png")), "images is a list"),  # type: ignore[arg-type]
    (Request(text="a", images=np.zeros((2, 2, 3))), "images is a list"),  # type: ignore[arg-type]
    (Request(text="a", images=None), "images is a list"),  # type: ignore[arg-type]
    (Request(messages=[USER], images=None), "images is a list"),  # type: ignore[arg-type]
    (Request(messages=[]), "messages is empty"),
    (Request(messages="a"), "messages is a list"),  # type: ignore[arg-type]
    (Request(messages=USER), "messages is a list"),  # type: ignore[arg-type]
    (Request(messages=[USER, "b"]), r"messages\[1\] must be a mapping"),  # type: ignore[list-item]
    (Request(messages=[USER], images=["a.png"]), "images beside messages have no place"),
    (
        Request(messages=[USER, {"role": "system", "content": "b"}], system="c"),
        r"given twice: as system and as messages\[1\]",
    ),
    (Request(messages=[{"content": "a"}]), r"messages\[0\].role is None; known: system, user,"),
    (Request(messages=[{"role": "bot", "content": "a"}]), r"messages\[0\].role is 'bot'"),
    (Request(messages=[{"role": "user"}]), r"messages\[0\] has no content"),
    (Request(messages=[{"role": "user", "content": 3}]), r"content must be text or a list of"),
    (Request(messages=[{**USER, "text": "a"}]), r"messages\[0\]: unknown field 'text'; known: r"),
    (Request(messages=[{**USER, "tokens": [1]}]), r"messages\[0\].tokens: only an assistant's"),
    (
        Request(messages=[{"role": "assistant", "tokens": ["1"]}]),
        r"messages\[0\].tokens must be a list of token ids",
    ),
    (Request(messages=[{"role": "assistant", "tokens": [-1]}]), "must be a list of token ids"),
    (Request(messages=[{"role": "assistant", "tokens": np.zeros(2)}]), "a list of token ids"),
    (Request(messages=[{"role": "assistant", "tokens": 5}]), "must be a list of token ids"),
    (
        Request(messages=[USER, USER, user({"type": "audio", "audio": "a.wav"})]),
        r"messages\[2\].content\[0\]: type 'audio' is not a known part; known: ",
    ),
    (Request(messages=[user("a")]), r"messages\[0\].content\[0\]: str is not a known part"),
    (Request(messages=[user({"type": "text"})]), "'text' holds exactly type and text"),
    (Request(messages=[user({"type": "image", "url": "x"})]), "holds exactly type and image"),
    (
        Request(messages=[user({"type": "text", "text": "a", "text2": "b"})]),
        "holds exactly type and text",
    ),
    (
        Request(messages=[user({"type": "text", "text": "a"}, {"type": "text", "text": None})]),
        r"messages\[0\].content\[1\].text must be text, not nothing",
    ),
    (
        Request(messages=[{"role": "assistant", "tool_calls": [{"a": {1, 2}}]}]),
        r"messages\[0\].tool_calls\[0\].a must be plain data, as JSON has it, not set",
    ),
    (
        Request(messages=[{"role": "assistant", "content": "", "tool_calls": [{1: 2}]}]),
        r"tool_calls\[0\] \(a key\) must be text",
    ),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_a_wrong_request_is_refused(request_: Request, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Conversation.of(request_)


def test_images_come_before_the_text() -> None:
    conversation = Conversation.of(Request(text="a", images=["x.png", b"y"], system="s"))
    assert conversation.messages == [
        {"role": "system", "content": "s"},
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "a"}],
        },
    ]
    assert [(image.value, image.place) for image in conversation.media] == [
        ("x.png", "images[0]"),
        (b"y", "images[1]"),
    ]


def test_images_of_messages_are_in_the_order_of_their_parts() -> None:
    messages = [user({"type": "image", "image": 1}), USER, user({"type": "image", "image": 2})]
    places = [
        (image.value, image.place) for image in Conversation.of(Request(messages=messages)).media
    ]
    assert places == [(1, "messages[0].content[0]"), (2, "messages[2].content[0]")]


def test_a_system_message_goes_before_messages() -> None:
    conversation = Conversation.of(Request(messages=[USER], system="s"))
    assert [message["role"] for message in conversation.messages] == ["system", "user"]


def test_generated_ids_are_found_by_the_index_of_the_rendered_message() -> None:
    messages = [USER, {"role": "assistant", "content": "b", "tokens": (3, np.int64(4))}]
    conversation = Conversation.of(Request(messages=messages[:1], system="s"))
    assert conversation.tokens == {}
    messages[1]["tokens"] = np.array([3, 4])  # type: ignore[index]
    assert Conversation.of(Request(messages=messages, system="s")).tokens == {2: (3, 4)}


def test_data_given_to_a_template_are_copies() -> None:
    calls = [{"name": "f", "arguments": {"x": (1, 2.5, None, True)}}]
    message = {"role": "assistant", "tool_calls": calls, "reasoning_content": None}
    (copy,) = Conversation.of(Request(messages=[message])).messages
    assert copy == {
        "role": "assistant",
        "tool_calls": [{"name": "f", "arguments": {"x": [1, 2.5, None, True]}}],
    }
    assert copy["tool_calls"][0] is not calls[0]
