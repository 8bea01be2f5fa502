"""Files of earlier turns are not read again; whatever else is shown is."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import triptych
from triptych import InputError

LOOK = "What color is the circle?"


@pytest.fixture
def chat() -> triptych.Chat:
    return triptych.load(overrides={"stop.max_new_tokens": 3}).chat()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return painted(tmp_path / "picture.png", "red")


def painted(path: Path, colour: str) -> Path:
    Image.new("RGB", (96, 64), colour).save(path)
    return path


def test_a_file_may_be_deleted_once_it_was_shown(chat: triptych.Chat, path: Path) -> None:
    chat.send(LOOK, images=[str(path)])
    whole = [*chat.messages, {"role": "user", "content": "And now?"}]
    fresh = chat.pipeline.generate(messages=whole)
    path.unlink()
    assert chat.send("And now?").tokens == fresh.tokens
    assert chat.send("And then?").usage.image_tokens == 6
    assert chat.messages[0]["content"][0]["image"] == str(path)


def test_a_file_shown_again_is_read_again(chat: triptych.Chat, path: Path) -> None:
    chat.send(LOOK, images=[str(path)])
    old = chat.pipeline.processor.prompt(triptych.Request(messages=chat.messages)).media[0].digest
    painted(path, "blue")
    chat.send(LOOK, images=[str(path)])
    chat.send("And now?")
    first, second = (known.media.digest for known in chat._shown._known)
    assert first == old
    assert second != old


def test_an_edited_part_is_read_again(chat: triptych.Chat, path: Path) -> None:
    chat.send(LOOK, images=[str(path)])
    other = painted(path.with_name("other.png"), "blue")
    chat.messages[0]["content"][0]["image"] = str(other)
    other.unlink()
    with pytest.raises(InputError, match="there is no such file"):
        chat.send("And now?")


def test_clearing_forgets_what_was_shown(chat: triptych.Chat, path: Path) -> None:
    chat.send(LOOK, images=[str(path)])
    chat.clear()
    assert chat._shown._known == ()
