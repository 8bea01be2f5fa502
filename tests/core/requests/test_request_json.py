"""Requests as JSON has them."""

import base64
import json
from pathlib import Path

import pytest

from triptych import InputError, Request
from triptych.core.requests.request_json import parse_object, request_of

FOLDER = Path("/data/set")


def of(**document):
    return request_of(document, FOLDER)


def test_a_text_is_a_request():
    assert of(text="Hello") == Request("Hello", images=[], videos=[])


def test_every_field_is_read():
    assert of(
        text="Hello",
        images=["a.png"],
        videos=["clip"],
        system="Be brief.",
        settings={"seed": 1},
        id="one",
    ) == Request(
        "Hello",
        images=["/data/set/a.png"],
        videos=["/data/set/clip"],
        system="Be brief.",
        settings={"seed": 1},
        id="one",
    )


def test_null_is_as_good_as_absent():
    assert of(text="Hello", images=None, settings=None, id=None) == of(text="Hello")


def test_paths_start_at_the_folder_and_absolute_ones_stay():
    found = of(text="?", images=["a.png", "/b.png", {"path": "sub/c.png"}]).images
    assert found == ["/data/set/a.png", "/b.png", "/data/set/sub/c.png"]


def test_pictures_may_be_in_the_line_itself():
    text = base64.b64encode(b"a picture").decode()
    found = of(text="?", images=[f"data:image/png;base64,{text}", {"base64": text}]).images
    assert found == [b"a picture", b"a picture"]


def test_base64_may_be_broken_into_lines():
    text = base64.encodebytes(bytes(200)).decode()
    assert "\n" in text.strip()
    assert of(text="?", images=[{"base64": text}]).images == [bytes(200)]


def test_a_video_may_be_a_list_of_pictures():
    assert of(text="?", videos=[["a.png", {"base64": "AAAA"}]]).videos == [
        ["/data/set/a.png", bytes(3)]
    ]


def test_media_stand_in_messages_too():
    parts = [
        {"type": "image", "image": "a.png"},
        {"type": "video", "video": "clip.gif", "fps": 2},
        {"type": "text", "text": "?"},
    ]
    messages = [{"role": "system", "content": "Hi"}, {"role": "user", "content": parts}]
    found = of(messages=messages).messages
    assert found[0] == messages[0]
    assert found[1]["content"] == [
        {"type": "image", "image": "/data/set/a.png"},
        {"type": "video", "video": "/data/set/clip.gif", "fps": 2},
        {"type": "text", "text": "?"},
    ]


def test_a_network_address_stays_one_for_the_processor_to_refuse():
    assert of(text="?", images=["https://example.org/a.png"]).images == [
        "https://example.org/a.png"
    ]


def test_a_number_is_an_id():
    assert of(text="?", id=7).id == "7"


def test_further_fields_are_read_by_somebody_else():
    assert request_of({"text": "?", "reference": 3}, FOLDER, also=["reference"]).text == "?"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"txt": "?"}, "there is no field 'txt'; did you mean 'text'? (fields: text, messages,"),
        ({"text": "?", "id": True}, "id must be text or a whole number"),
        ({"text": "?", "id": 1.5}, "id must be text or a whole number"),
        ({"text": "?", "settings": [1]}, "settings must be an object"),
        ({"text": "?", "images": "a.png"}, "images is a list, also for one"),
        ({"text": "?", "images": [3]}, "images[0] must be a path, a data: address,"),
        ({"text": "?", "images": [{"path": "a", "base64": "AAAA"}]}, "images[0] must be a path"),
        ({"text": "?", "images": [["a.png"]]}, "images[0] must be a path"),
        ({"text": "?", "videos": [{}]}, "or a list of pictures"),
        ({"text": "?", "images": [{"base64": "?"}]}, "images[0] is not base64"),
        ({"text": "?", "images": [{"base64": "\u00e9"}]}, "images[0] is not base64"),
        ({"text": "?", "images": ["data:image/png,abc"]}, "images[0]: of data: addresses"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "image": None}]}]},
            "messages[0].content[0].image must be a path",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(document, message):
    with pytest.raises(InputError) as caught:
        request_of(document, FOLDER)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "?"', "is not JSON: Expecting ',' delimiter at column 13"),
        (b"\xff", "is not UTF-8: byte 1 is no text"),
        (b"[1]", "is not a JSON object"),
        (b"[" * 200_000, "is not JSON"),
        (b'{"id": ' + b"1" * 10_000 + b"}", "is not JSON that can be read"),
    ],
)
def test_a_line_that_is_no_object_says_why(line, message):
    with pytest.raises(InputError) as caught:
        parse_object(line)
    assert message in str(caught.value)


def test_a_line_is_utf_8():
    assert parse_object(json.dumps({"text": "Größe"}, ensure_ascii=False).encode()) == {
        "text": "Größe"
    }
