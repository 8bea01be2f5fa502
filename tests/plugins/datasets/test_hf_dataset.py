"""Data sets that Hugging Face's `datasets` saved, read without a network."""

import socket
import sys
from io import BytesIO

import datasets
import pytest
from PIL import Image

import triptych
from triptych import InputError
from triptych.plugins.datasets.hf_dataset import HFDataset
from triptych.testing import check_dataset

COLOURS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of data sets, by name."""
    base = tmp_path_factory.mktemp("saved")
    pictures = [Image.new("RGB", (64, 64), colour) for colour in COLOURS]
    rows = datasets.Dataset.from_dict(
        {
            "image": pictures,
            "question": [f"What color is picture {number}?" for number in range(3)],
            "answer": COLOURS,
            "answers": [{"text": [colour, colour.upper()]} for colour in COLOURS],
            "people": [[{"answer": colour, "who": 1}] * 2 for colour in COLOURS],
            "key": [10, 11, 12],
        }
    ).cast_column("image", datasets.Image())
    rows.save_to_disk(base / "plain")
    datasets.DatasetDict({"val": rows}).save_to_disk(base / "one split")
    datasets.DatasetDict({"train": rows, "val": rows.select([2])}).save_to_disk(base / "two splits")
    lists = {"pages": [pictures[:2], []], "question": ["a", "b"], "answer": ["x", "y"]}
    kind = datasets.Features(
        {
            "pages": datasets.List(datasets.Image()),
            "question": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    datasets.Dataset.from_dict(lists, features=kind).save_to_disk(base / "lists")
    rows.select([]).save_to_disk(base / "empty")
    return base


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a data set on disk needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def items(folder, **settings):
    return list(HFDataset(HFDataset.Settings(folder=folder, **settings)))


def pixel(content):
    return Image.open(BytesIO(content)).convert("RGB").getpixel((0, 0))


def test_a_row_is_an_item(saved):
    found = items(saved / "plain")
    assert [(item.id, item.reference) for item in found] == [
        ("0", "red"),
        ("1", "green"),
        ("2", "blue"),
    ]
    assert found[0].request.text == "What color is picture 0?"
    assert [pixel(item.request.images[0]) for item in found] == [
        (255, 0, 0),
        (0, 128, 0),
        (0, 0, 255),
    ]


def test_columns_are_named_and_dots_go_into_them(saved):
    (item,) = items(
        saved / "plain",
        question="Number {key}: {question}",
        reference="answers.text",
        id="key",
        task="answer",
        cluster="key",
        limit=1,
    )
    assert (item.id, item.task, item.cluster) == ("10", "red", "10")
    assert item.request.text == "Number 10: What color is picture 0?"
    assert item.reference == ["red", "RED"]
    (item,) = items(saved / "plain", reference="people.answer", images=(), limit=1)
    assert item.reference == ["red", "red"]
    assert not item.request.images


def test_a_column_may_be_lists_of_pictures(saved):
    two, none = items(saved / "lists")
    assert [pixel(one) for one in two.request.images] == [(255, 0, 0), (0, 128, 0)]
    assert not none.request.images


def test_a_split_is_chosen_where_there_are_several(saved):
    assert len(items(saved / "one split")) == 3
    assert [item.reference for item in items(saved / "two splits", split="val")] == ["blue"]


def test_a_pipeline_answers_its_items(saved):
    (item, *_) = items(saved / "plain")
    reply = triptych.load().generate(item.request, max_new_tokens=2)
    assert reply.usage.image_tokens == 4


def test_it_keeps_a_datasets_promises(saved):
    check_dataset(HFDataset, folder=saved / "plain")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("two splits", {}, "has several splits (splits: train, val)"),
        (
            "two splits",
            {"split": "vla"},
            "has no split 'vla'; did you mean 'val'? (splits: train, val)",
        ),
        ("plain", {"split": "val"}, "has no splits; leave out split: val"),
        ("plain", {"reference": "anwser"}, "no field 'anwser'; did you mean 'answer'?"),
        ("plain", {"question": "{what}"}, "plain, row 0: there is no field 'what'"),
        ("plain", {"reference": "answer.text"}, "there is no field 'text'"),
        ("", {}, "is no saved data set: "),
        ("empty", {}, "empty has no row"),
    ],
)
def test_what_is_wrong_is_told(saved, name, settings, message):
    with pytest.raises(InputError) as caught:
        items(saved / name, **settings)
    assert message in str(caught.value)


def test_without_datasets_it_is_said_what_brings_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r'pip install "triptych\[datasets\]"'):
        items(tmp_path)
