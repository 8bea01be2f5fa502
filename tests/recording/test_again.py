"""Answers that are made again."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import triptych
from triptych import Request
from triptych.recording import Again, Recorder, RecordingError, manifest, reproduce

SETTINGS = {"max_new_tokens": 8, "temperature": 3.0, "top_k": 20}


@pytest.fixture
def model(tiny_pipeline, tmp_path):
    """A pipeline folder of one's own."""
    return shutil.copytree(tiny_pipeline, tmp_path / "model")


@pytest.fixture
def record(model, tmp_path):
    """Records an answer of that model; gives its folder and the reply."""

    def record(*asked, observer_ports=("logits",), **more):
        pipe = triptych.load(model)
        folder = tmp_path / f"recording {len(list(tmp_path.iterdir()))}"
        recorder = Recorder(folder, ports=observer_ports)
        return folder, pipe.generate(*asked, observer=recorder, **{**SETTINGS, **more})

    return record


def said(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_an_answer_is_made_again_to_the_token_with_the_seed_that_was_drawn(record, picture):
    folder, reply = record("Hello", images=[picture], system="Be brief.", stop=["zzz"])
    found = reproduce(folder)
    assert found.reply.tokens == reply.tokens
    assert (found.differences, found.first_difference) == ((), None)
    assert found.reply.seed == reply.seed
    assert reproduce(folder / "manifest.json").reply.tokens == reply.tokens


def test_the_manifest_says_what_the_answer_was_made_of(record, model, picture):
    import hashlib

    folder, reply = record("Hello", images=[picture], seed=5)
    document = said(folder)
    assert document["versions"]["triptych"] == triptych.__version__
    assert {"python", "onnxruntime", "numpy", "transformers"} <= document["versions"].keys()
    decoder = hashlib.sha256((model / "decoder.onnx").read_bytes()).hexdigest()
    assert document["pipeline"]["digests"]["decoder.onnx"] == decoder
    assert document["machine"]["providers"] == ["cpu"]
    assert (document["seed"], document["settings"]["top_k"]) == (5, 20)
    assert document["reply"]["tokens"] == list(reply.tokens)
    assert document["reply"]["text"] == reply.text
    (image,) = document["request"]["images"]
    assert (folder / image["kept"]).read_bytes() == picture.read_bytes()
    assert image["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["bytes", "PIL", "array", "part of a message"])
def test_pictures_are_kept_however_they_were_given(record, picture, form):
    opened = Image.open(picture)
    given = {"bytes": picture.read_bytes(), "PIL": opened, "array": np.asarray(opened)}.get(form)
    if given is None:
        content = [{"type": "image", "image": str(picture)}, {"type": "text", "text": "Hello"}]
        folder, reply = record(Request(messages=[{"role": "user", "content": content}]))
    else:
        folder, reply = record("Hello", images=[given])
    assert reproduce(folder).reply.tokens == reply.tokens


def test_a_whole_conversation_is_made_again(record):
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "abc", "tokens": [97, 98, 99]},
        {"role": "user", "content": "And?"},
    ]
    folder, reply = record(Request(messages=messages))
    assert reproduce(folder).reply.tokens == reply.tokens


def test_a_file_of_the_pipeline_that_has_changed_is_named(record, model):
    folder, _ = record("Hello")
    config = model / "generation_config.json"
    config.write_text(config.read_text() + "\n")
    (line,) = reproduce(folder).differences
    assert line.startswith("generation_config.json has changed: its sha256 is ")


def test_another_version_and_machine_are_named(record, monkeypatch):
    folder, _ = record("Hello")
    before = said(folder)["machine"]["cores"]
    monkeypatch.setattr(triptych, "__version__", "9.0")
    monkeypatch.setattr(manifest.os, "cpu_count", lambda: before + 1)
    assert reproduce(folder).differences == (
        "triptych was 0.1.0, and is 9.0",
        f"the machine's cores was {before}, and is {before + 1}",
    )


def test_another_setting_is_named_by_its_path(record):
    folder, _ = record("Hello")
    document = said(folder)
    config = document["pipeline"]["config"]
    assert "cache: full" in config
    document["pipeline"]["config"] = config.replace("max_new_tokens: 100", "max_new_tokens: 7")
    again = Again(folder)
    spec = triptych.load(again.config, allow_outside=True).spec
    assert again.differences(spec) == []
    (folder / "manifest.json").write_text(json.dumps(document))
    assert Again(folder).differences(spec) == [
        "the pipeline's stop.max_new_tokens was 7, and is 100"
    ]


def test_a_picture_that_has_changed_is_named_and_the_first_token_that_differs(record, picture):
    folder, _ = record("Hello", images=[picture], no_sample=True, temperature=None, top_k=None)
    Image.new("RGB", (64, 64), "blue").save(folder / "media" / "0.png")
    found = reproduce(folder)
    assert found.differences == (f"{folder / 'media' / '0.png'} is another picture or video",)
    recorded = said(folder)["reply"]["tokens"]
    place = found.first_difference.place
    assert list(found.reply.tokens[:place]) == recorded[:place]
    assert found.reply.tokens[place] != recorded[place]
    assert str(found.first_difference) == (
        f"new token {place + 1} is token {found.reply.tokens[place]}, "
        f"and was token {recorded[place]}"
    )


def test_a_file_outside_of_the_root_is_read_only_as_it_was(record, model, tmp_path):
    for file in model.iterdir():
        if file.suffix in (".onnx", ".data"):
            shutil.copy(file, tmp_path)
    other = str(tmp_path / "decoder.onnx")
    pipe = triptych.load(model, overrides={"decoder.graph": other}, allow_outside=True)
    folder = tmp_path / "r"
    pipe.generate("Hello", observer=Recorder(folder), **SETTINGS)
    assert reproduce(folder).differences == ()
    document = said(folder)
    assert other in document["pipeline"]["digests"]
    document["pipeline"]["digests"][other] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(RecordingError, match="outside of the pipeline's folder and is not the"):
        reproduce(folder)
    (line,) = reproduce(folder, allow_outside=True).differences
    assert line.startswith(f"{other} has changed")


def test_a_manifest_of_a_stranger_names_no_file_that_it_does_not_know(record, picture, tmp_path):
    folder, _ = record("Hello", images=[picture])
    document = said(folder)
    document["request"]["images"] = [{"path": str(picture), "sha256": "0" * 64}]
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(RecordingError, match="not the file that was recorded; give --allow-out"):
        reproduce(folder)
    assert reproduce(folder, allow_outside=True).differences
    document["request"]["images"] = [{"kept": "../secret.png", "sha256": "0" * 64}]
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(RecordingError, match=r"'../secret.png' is no file of this recording"):
        reproduce(folder)


def test_a_request_that_could_not_be_kept_cannot_be_made_again(pipe, tmp_path):
    pipe.generate("1 2", images=[(4, 4, 1)], observer=Recorder(tmp_path / "r"))
    with pytest.raises(RecordingError, match="showed a tuple, which could not be kept"):
        reproduce(tmp_path / "r")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file or directory; `triptych run --record DIR` writes one"),
        ("{", "is not JSON"),
        ("{}", "is not a manifest that `run --record` wrote"),
        ('{"format": 2, "pipeline": {}, "reply": {}}', "has format 2, and .* reads 1; upgrade"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RecordingError, match=message):
        Again(tmp_path)
