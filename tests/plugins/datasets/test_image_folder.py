"""Folders of pictures with captions."""

import pytest
from PIL import Image

from triptych import InputError
from triptych.plugins.datasets.image_folder import ImageFolder
from triptych.testing import check_dataset


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "more").mkdir()
    for name in ("b.png", "a.jpg", "more/c.PNG"):
        Image.new("RGB", (32, 32), "red").save(tmp_path / name)
    return tmp_path


def items(folder, **settings):
    return list(ImageFolder(ImageFolder.Settings(folder=folder, **settings)))


def captioned(folder):
    for name in ("b", "a", "more/c"):
        (folder / f"{name}.txt").write_text(f"It is {name}.\n", encoding="utf-8")


def test_captions_may_lie_beside_the_pictures(folder):
    captioned(folder)
    found = items(folder)
    assert [(item.id, item.reference) for item in found] == [
        ("a.jpg", "It is a."),
        ("b.png", "It is b."),
        ("more/c.PNG", "It is more/c."),
    ]
    assert found[0].request.text == "Describe this image."
    assert found[0].request.images == [str(folder / "a.jpg")]
    assert found[0].cluster is None
    assert len(items(folder, limit=2)) == 2


def test_a_table_of_json_may_have_several_questions_about_a_picture(folder):
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "b.png", "text": "red", "thing": "colour", "kind": "look"}\n\n'
        '{"file_name": "more/c.PNG", "text": "no", "thing": "weight", "kind": "feel"}\n'
        '{"file_name": "b.png", "text": "32", "thing": "size", "kind": "look"}\n',
        encoding="utf-8",
    )
    found = items(folder, question="What is its {thing}?", task="kind")
    assert [(item.id, item.cluster, item.task, item.reference) for item in found] == [
        ("b.png#1", "b.png", "look", "red"),
        ("more/c.PNG", None, "feel", "no"),
        ("b.png#2", "b.png", "look", "32"),
    ]
    assert [item.request.text for item in found] == [
        "What is its colour?",
        "What is its weight?",
        "What is its size?",
    ]


def test_a_table_may_be_of_commas_and_its_captions_anywhere(folder):
    (folder / "captions.csv").write_text(
        '\ufefffile_name,caption,short\nb.png,"A red, square picture",red\n', encoding="utf-8"
    )
    assert [item.reference for item in items(folder)] == ["A red, square picture"]
    assert [item.reference for item in items(folder, caption="short")] == ["red"]


def test_braces_that_name_nothing_stay(folder):
    captioned(folder)
    assert items(folder, question="As {}?")[0].request.text == "As {}?"


def test_it_keeps_a_datasets_promises(folder):
    captioned(folder)
    check_dataset(ImageFolder, folder=folder)


@pytest.mark.parametrize(
    ("table", "text", "settings", "message"),
    [
        ("metadata.jsonl", "{", {}, "metadata.jsonl:1: is not JSON"),
        (
            "metadata.jsonl",
            '{"file_name": "x.png", "text": ""}',
            {},
            "metadata.jsonl:1: there is no picture 'x.png' in ",
        ),
        ("metadata.jsonl", '{"text": ""}', {}, "there is no field 'file_name'"),
        (
            "captions.csv",
            "file_name,caption\nb.png,red\n",
            {"question": "Is it {captoin}?"},
            "captions.csv:2: there is no field 'captoin'; did you mean 'caption'?",
        ),
        ("captions.csv", "file_name,what\nb.png,red\n", {}, "there is no field 'caption'"),
        ("captions.csv", "", {}, "captions.csv has no picture"),
        ("c.txt", "", {}, "has no caption: a.txt cannot be read (No such file"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(folder, table, text, settings, message):
    (folder / table).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        items(folder, **settings)
    assert message in str(caught.value)


def test_two_tables_are_one_too_many(folder):
    for name in ("metadata.csv", "captions.csv"):
        (folder / name).write_text("file_name,caption\nb.png,red\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"metadata\.csv and captions\.csv: keep one of them"):
        items(folder)


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(InputError, match="has no picture"):
        items(tmp_path)
