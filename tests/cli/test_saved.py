"""Conversations in files."""

import json

import pytest

from triptych.cli import saved
from triptych.core.errors import InputError


def test_what_is_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    messages = [
        {"role": "system", "content": "Be brief."},
        saved.question("Which is older?", ["a b.png", b"\x89PNG\r\n"]),
        {"role": "assistant", "content": "東京", "tokens": [1, 2, 3]},
    ]
    file = tmp_path / "talk.json"
    saved.write(file, saved.Conversation("sketch", messages, {"top_k": 5, "stop": ["."]}))
    found = saved.read(file)
    assert found.pipeline == "sketch"
    assert found.settings == {"top_k": 5, "stop": ["."]}
    assert found.messages[0] == messages[0]
    assert found.messages[2] == messages[2]
    # A path is absolute afterwards, so that the file may be loaded from elsewhere.
    assert found.messages[1]["content"] == [
        {"type": "image", "image": str(tmp_path / "a b.png")},
        {"type": "image", "image": b"\x89PNG\r\n"},
        {"type": "text", "text": "Which is older?"},
    ]


def test_videos_are_written_as_pictures_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = saved.question("What moves?", videos=["frames", b"GIF"])
    asked["content"][0]["fps"] = 4
    saved.write(tmp_path / "talk.json", saved.Conversation("sketch", [asked]))
    assert saved.read(tmp_path / "talk.json").messages[0]["content"] == [
        {"type": "video", "video": str(tmp_path / "frames"), "fps": 4},
        {"type": "video", "video": b"GIF"},
        {"type": "text", "text": "What moves?"},
    ]
    talk = saved.Conversation("sketch", [saved.question("What?", videos=[["a.png"]])])
    with pytest.raises(InputError, match="a video of type list cannot be saved; give videos as"):
        saved.write(tmp_path / "talk.json", talk)


def test_the_file_is_json_with_a_message_a_line(tmp_path):
    file = tmp_path / "talk.json"
    messages = [
        {"role": "user", "content": "Tokyo?"},
        {"role": "assistant", "content": "東京", "tokens": [1, 2, 3]},
    ]
    saved.write(file, saved.Conversation("sketch", messages))
    assert file.read_text(encoding="utf-8") == (
        '{"format": "triptych-chat", "version": 1, "pipeline": "sketch", "settings": {}, '
        '"messages": [\n'
        '{"role": "user", "content": "Tokyo?"},\n'
        '{"role": "assistant", "content": "東京", "tokens": [1, 2, 3]}\n'
        "]}\n"
    )


def test_other_pictures_cannot_be_saved(tmp_path):
    talk = saved.Conversation("sketch", [saved.question("What?", [object()])])
    with pytest.raises(InputError, match=r"a picture of type object cannot be saved"):
        saved.write(tmp_path / "talk.json", talk)
    assert not (tmp_path / "talk.json").exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(
        InputError, match=r"talk.json: cannot be written: No such file or directory"
    ):
        saved.write(tmp_path / "nowhere" / "talk.json", saved.Conversation("sketch", []))


WHOLE = {
    "format": "triptych-chat",
    "version": 1,
    "pipeline": "sketch",
    "settings": {},
    "messages": [{"role": "user", "content": "Hello"}],
}


NO_PART = "messages[0].content[0] is neither a text nor an image or video with a path or base64"


def message(**changes):
    return {**WHOLE, "messages": [{"role": "user", "content": "Hello", **changes}]}


def part(**fields):
    return message(content=[fields])


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "is not a conversation that /save wrote"),
        ({"format": "other"}, "is not a conversation that /save wrote"),
        ({**WHOLE, "version": 2}, "has version 2, and this Triptych reads 1; upgrade triptych"),
        ({**WHOLE, "version": "one"}, "has version 'one', and this Triptych reads 1"),
        ({**WHOLE, "messages": {}}, "messages is not a list"),
        ({**WHOLE, "settings": []}, "settings is not an object"),
        ({**WHOLE, "messages": ["Hello"]}, "messages[0] is not an object"),
        (message(role="robot"), "messages[0].role is 'robot'; known: system, user, assistant"),
        (message(content=3), "messages[0].content is neither text nor a list of parts"),
        (message(tokens=["a"]), "messages[0].tokens is not a list of token ids"),
        (part(type="audio"), NO_PART),
        (part(type="image"), NO_PART),
        (
            part(type="image", base64="?"),
            "messages[0].content[0].base64 is broken: Only base64 data is allowed",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, document, problem):
    file = tmp_path / "talk.json"
    file.write_text(json.dumps(document))
    with pytest.raises(InputError) as raised:
        saved.read(file)
    assert str(raised.value) == f"{file}: {problem}"


def test_a_file_that_is_no_json(tmp_path):
    file = tmp_path / "talk.json"
    file.write_text("{")
    with pytest.raises(InputError, match=r"talk.json: is not JSON: Expecting property name"):
        saved.read(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"talk.json: is not JSON: 'utf-8' codec can't decode"):
        saved.read(file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"talk.json: cannot be read: No such file or directory"):
        saved.read(tmp_path / "talk.json")
