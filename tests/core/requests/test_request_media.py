"""The pictures and videos of a request, found in one way by all who look for them."""

import pytest

from triptych import Request
from triptych.core.requests.request_media import media_of, with_media


def named(value, kind, place):
    return f"{kind} {value} at {place}"


def told(part):
    """What becomes of one part of a message."""
    [message] = with_media(Request(messages=[{"role": "user", "content": [part]}]), named).messages
    return message["content"][0]


def test_those_beside_a_text_are_changed_with_their_places():
    found = with_media(Request("?", images=("a", "b"), videos=["c"]), named)
    assert found.images == ["image a at images[0]", "image b at images[1]"]
    assert found.videos == ["video c at videos[0]"]
    assert found.text == "?"


def test_those_in_messages_are_changed_and_nothing_else_is():
    text = {"type": "text", "text": "?"}
    messages = (
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "tokens": [1, 2]},
        {"role": "user", "content": (text, {"type": "video", "video": "a", "fps": 2})},
    )
    changed = {"type": "video", "video": "video a at messages[2].content[1].video", "fps": 2}
    assert with_media(Request(messages=messages, id="7"), named) == Request(
        messages=[*messages[:2], {"role": "user", "content": [text, changed]}],
        images=[],
        videos=[],
        id="7",
    )


def test_a_video_of_pictures_is_one_medium():
    assert media_of(Request("?", videos=[["a", "b"]]), "video") == [["a", "b"]]


def test_a_part_shows_what_its_type_says_it_does():
    assert told({"type": "image", "image": "a", "video": "b"})["video"] == "b"


@pytest.mark.parametrize(
    "odd",
    [
        "image",
        7,
        None,
        {"image": "a"},
        {"type": "text", "image": "a"},
        {"type": "image"},
        {"type": ["image"], "image": "a"},
        {"type": "audio", "audio": "a"},
    ],
)
def test_a_part_that_shows_nothing_known_stays_for_the_processor(odd):
    assert told(odd) == odd


@pytest.mark.parametrize("odd", ["Hello", {"role": "user"}, 7, None, [7, "Hello", None]])
def test_messages_of_no_known_form_stay_for_the_processor(odd):
    assert with_media(Request(messages=odd), named).messages == odd


@pytest.mark.parametrize("odd", ["a.png", b"a", None, 7])
def test_a_medium_in_the_place_of_a_list_stays_for_the_processor(odd):
    assert with_media(Request("?", images=odd), named).images is odd


def test_the_request_that_was_given_stays_as_it_was():
    part = {"type": "image", "image": "a"}
    asked = Request(messages=[{"role": "user", "content": [part]}])
    with_media(asked, named)
    assert part == {"type": "image", "image": "a"}


def test_media_are_listed_by_kind_in_their_order():
    content = [
        {"type": "image", "image": 1},
        {"type": "video", "video": 2},
        {"type": "image", "image": 3},
    ]
    asked = Request(messages=[{"role": "user", "content": content}] * 2)
    assert media_of(asked, "image") == [1, 3, 1, 3]
