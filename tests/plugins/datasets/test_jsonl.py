"""Files of questions, one a line."""

import base64
import json
from io import BytesIO

import pytest
from PIL import Image

import triptych
from triptych import InputError, Request
from triptych.plugins.datasets.jsonl import JSONLines
from triptych.testing import check_dataset

RED = Image.new("RGB", (64, 64), "red")


def png():
    buffer = BytesIO()
    RED.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def written(tmp_path):
    """Writes lines; gives the dataset."""

    def write(*lines, **settings):
        file = tmp_path / "questions.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text("\n".join(texts), encoding="utf-8")
        return JSONLines(JSONLines.Settings(file=file, **settings))

    return write


def test_a_line_is_an_item(written, tmp_path):
    line = {
        "id": "one",
        "text": "What colour is it?",
        "images": ["red.png"],
        "settings": {"max_new_tokens": 3},
        "reference": "red",
        "cluster": "red.png",
        "task": "colour",
    }
    (item,) = written(line)
    assert item == triptych.Item(
        "one",
        Request(
            "What colour is it?",
            images=[str(tmp_path / "red.png")],
            settings={"max_new_tokens": 3},
            id="one",
            videos=[],
        ),
        "red",
        "red.png",
        "colour",
    )


def test_messages_references_and_pictures_in_the_line(written):
    address = "data:image/png;base64," + base64.b64encode(png()).decode()
    parts = [{"type": "image", "image": address}, {"type": "text", "text": "Colour?"}]
    (item,) = written(
        {"messages": [{"role": "user", "content": parts}], "references": ["red", "crimson"]}
    )
    assert item.reference == ["red", "crimson"]
    assert item.request.messages[0]["content"][0]["image"] == png()


def test_lines_without_an_id_are_called_by_their_number_and_empty_ones_skipped(written):
    items = list(written({"text": "a"}, "", {"text": "b", "id": 7}, {"text": "c"}))
    assert [(item.id, item.request.text) for item in items] == [("1", "a"), ("7", "b"), ("4", "c")]
    assert [item.reference for item in items] == [None, None, None]


def test_the_limit_is_the_first_lines_and_later_ones_are_not_read(written):
    assert [item.id for item in written({"text": "a"}, {"text": "b"}, "{", limit=2)] == ["1", "2"]


def test_a_pipeline_answers_its_items(written, tmp_path):
    RED.save(tmp_path / "red.png")
    data = written(
        {"text": "What color is the image?", "images": ["red.png"], "reference": "red"},
        {"text": "What is the capital of France?", "reference": "Paris"},
    )
    said = triptych.load().generate_batch([item.request for item in data])
    assert said[1].text == "Paris"
    assert said[0].usage.image_tokens == 4


def test_it_keeps_a_datasets_promises(written):
    check_dataset(JSONLines, file=written({"text": "a"}, {"text": "b"}).settings.file)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"text": "a"}', "{"], "questions.jsonl:2: is not JSON: "),
        (['{"txt": "a"}'], "questions.jsonl:1: there is no field 'txt'; did you mean 'text'?"),
        (['{"text": "a", "referense": 1}'], "did you mean 'reference'?"),
        (
            ['{"text": "a", "reference": 1, "references": [1]}'],
            "questions.jsonl:1: there are both a reference and references",
        ),
        (['{"text": "a", "task": ["b"]}'], "questions.jsonl:1: task must be text"),
        (
            ['{"text": "a", "id": "x"}', "", '{"text": "b", "id": "x"}'],
            "questions.jsonl:3: the id 'x' is that of line 1, too",
        ),
        (["", ""], "questions.jsonl has no line"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(written, lines, message):
    with pytest.raises(InputError) as caught:
        list(written(*lines))
    assert message in str(caught.value)


def test_a_file_that_is_gone_is_told(written):
    data = written({"text": "a"})
    data.settings.file.unlink()
    with pytest.raises(InputError, match=r"questions\.jsonl cannot be read: No such file"):
        list(data)
