"""Requests that carry their pictures and videos."""

from triptych import Request, load
from triptych.workbench.engines.embedded import embedded


def test_paths_become_the_bytes_of_their_files(picture):
    content = picture.read_bytes()
    found = embedded(Request("?", images=[str(picture), picture, content]))
    assert found.images == [content, content, content]


def test_pictures_in_messages_do_too(picture):
    parts = [{"type": "image", "image": str(picture)}, {"type": "text", "text": "?"}]
    messages = [{"role": "system", "content": "Hi"}, {"role": "user", "content": parts}]
    assert embedded(Request(messages=messages)).messages == [
        messages[0],
        {
            "role": "user",
            "content": [{"type": "image", "image": picture.read_bytes()}, parts[1]],
        },
    ]


def test_a_folder_that_is_a_video_becomes_its_frames_in_their_order(tmp_path):
    for name in ("frame10.png", "frame2.png", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    assert embedded(Request("?", videos=[tmp_path])).videos == [[b"frame2.png", b"frame10.png"]]


def test_what_cannot_be_read_stays_for_the_one_who_answers(tmp_path):
    asked = Request("?", images=["absent.png", 3, "a\0b"], videos=[str(tmp_path), ["absent.png"]])
    assert embedded(asked) == asked


def test_the_answer_is_the_same(tiny_pipeline, picture, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture.read_bytes())
    pipe = load(tiny_pipeline)
    asked = Request("Hello", images=[picture], videos=[tmp_path], settings={"max_new_tokens": 12})
    assert pipe.generate(embedded(asked)).tokens == pipe.generate(asked).tokens
