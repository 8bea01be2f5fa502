"""Recording the ports of an answer."""

import json
from pathlib import Path

import numpy as np
import pytest

import triptych
from tests import fakes
from triptych import InputError, PluginError
from triptych.core.system import whole_file
from triptych.recording import Recorder, Recording, RecordingError, writer

IMAGES = [(4, 4, 1), (2, 6, 2)]
LONG = {"max_new_tokens": 64, "seed": 3}
GREEDY = [{"min_new_tokens": 64}, "greedy"]
SAMPLED = [{"min_new_tokens": 64}, {"temperature": 2.0}, "draw"]


def recorded(pipe, folder, *asked, ports=None, **more):
    """A reply, and its recording."""
    reply = pipe.generate(*asked, observer=Recorder(folder, ports=ports), **more)
    return reply, Recording(folder)


def values(recording, port, writer=None):
    """All that was written to a port, in order."""
    return [
        recording.array(tensor)
        for tensor in recording.tensors
        if tensor.port == port and writer in (None, tensor.writer)
    ]


# It changes nothing


@pytest.mark.parametrize("sampler", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_recording_everything_of_64_tokens_changes_none(sketch, scene, tmp_path, sampler):
    asked = {"images": [scene], "sampler": sampler, **LONG}
    expected = sketch.generate("What is this?", **asked)
    reply, recording = recorded(sketch, tmp_path / "r", "What is this?", **asked)
    assert reply.tokens == expected.tokens
    assert len(reply.tokens) == 64
    logits = values(recording, "logits")
    assert len(logits) == 64
    if sampler is GREEDY:
        # No EOS is among the first 64, so the likeliest of the others.
        rows = np.concatenate(logits, 1)[0]
        rows[:, list(sketch.processor.eos_ids)] = -np.inf
        assert rows.argmax(-1).tolist() == list(reply.tokens)


def test_in_company_all_get_what_they_get_alone(sketch, scene, tmp_path):
    texts = ("What is this?", "What color is the circle?", "Describe the picture.")
    settings = {"sampler": SAMPLED, "max_new_tokens": 24}
    alone = [
        sketch.generate(text, images=[scene], seed=place, **settings)
        for place, text in enumerate(texts)
    ]
    streams = [
        sketch.stream(
            text,
            images=[scene],
            seed=place,
            observer=None if place == 1 else Recorder(tmp_path / str(place)),
            **settings,
        )
        for place, text in enumerate(texts)
    ]
    batches = []
    decoder = sketch.wiring.span[-1]
    graph, run = decoder.stage.graph, decoder.stage.graph.run_in_place
    try:
        graph.run_in_place = lambda ports, *rest: (
            batches.append(len(ports["inputs_embeds"])) or run(ports, *rest)
        )
        while not all(one.ended for one in streams):
            for one in streams:
                next(one, None)
    finally:
        del graph.run_in_place
    assert [one.reply.tokens for one in streams] == [one.tokens for one in alone]
    assert max(batches) > 1
    # What one of them wrote in company is what it writes alone.
    sketch.generate(
        texts[2], images=[scene], seed=2, observer=Recorder(tmp_path / "alone"), **settings
    )
    for port in ("logits", "inputs_embeds", "position_ids"):
        pairs = zip(
            values(Recording(tmp_path / "2"), port),
            values(Recording(tmp_path / "alone"), port),
            strict=True,
        )
        assert all(np.array_equal(one, other) for one, other in pairs)


# What it holds


def test_it_holds_every_port_of_every_step_as_it_was_written(pipe, tmp_path):
    reply, recording = recorded(pipe, tmp_path / "r", "1 2 3", images=IMAGES, max_new_tokens=5)
    prompt = fakes.Numbers().prompt(
        type("Asked", (), {"messages": None, "images": IMAGES, "text": "1 2 3"})
    )
    assert recording.complete
    (pixels,) = values(recording, "pixel_values")
    np.testing.assert_array_equal(
        pixels, np.concatenate([one.ports["pixel_values"] for one in prompt.media])
    )
    # The fakes spoil what they gave when they run again.
    tokens = [*prompt.tokens.tolist(), *reply.tokens[:-1]]
    np.testing.assert_array_equal(np.concatenate(values(recording, "input_ids")), tokens)
    embedded = np.concatenate(values(recording, "inputs_embeds", "local/embed"), 1)[0]
    np.testing.assert_array_equal(embedded, fakes.Embed.table[tokens])
    logits = [rows[0, -1].argmax() for rows in values(recording, "logits")]
    assert logits == list(reply.tokens)
    assert {tensor.port for tensor in recording.tensors} == {
        *("input_ids", "visual_index", "start_position", "source"),
        *("pixel_values", "image_grid_thw", "image_features", "deepstack_features"),
        *("position_ids", "next_position", "inputs_embeds", "deepstack_embeds", "logits"),
    }


def test_a_port_is_what_run_until_gives(sketch, scene, tmp_path):
    _, recording = recorded(
        sketch, tmp_path / "r", "What is this?", images=[scene], max_new_tokens=2
    )
    for port in ("image_features", "deepstack_embeds", "position_ids"):
        expected = sketch.run_until(port, "What is this?", images=[scene])
        np.testing.assert_array_equal(values(recording, port)[0], expected)
    merged = sketch.run_until("inputs_embeds", "What is this?", images=[scene])
    np.testing.assert_array_equal(values(recording, "inputs_embeds", "merge")[0], merged)


def test_step_0_is_the_prompt_however_it_is_cut_and_others_are_its_tokens(load, tmp_path):
    pipe = load(overrides={"session.chunk": 2})
    _, recording = recorded(pipe, tmp_path / "r", "1 2 3 4 5", max_new_tokens=3)
    spans = [walk for walk in recording.passes if walk.phase == "span"]
    assert [(walk.step, len(walk.tokens)) for walk in spans] == [
        *[(0, 2), (0, 2), (0, 1)],
        *[(1, 1), (2, 1)],
    ]


def test_only_the_ports_that_are_named_are_written(pipe, tmp_path):
    _, recording = recorded(
        pipe, tmp_path / "r", "1 2", ports=["logits", "position_ids"], max_new_tokens=3
    )
    assert recording.port_names == ["position_ids", "logits"]
    assert recording.ports == ["logits", "position_ids"]
    assert len(recording.passes) == 6


def test_what_was_dropped_is_not_there_from_then_on(scene, tmp_path):
    pipe = triptych.load(insert=["after mrope: {token_norm: 0.5}"])
    _, recording = recorded(pipe, tmp_path / "r", "Hi", images=[scene], max_new_tokens=1)
    (keep,) = values(recording, "keep_rows")
    assert (len(keep), keep.sum()) == (12, 6)
    entered, forwarded = recording.passes
    gone = sorted(set(entered.source) - set(forwarded.source))
    rows = [place for place, token in enumerate(entered.tokens) if token == entered.tokens[5]]
    assert gone == [rows[row] for row in np.flatnonzero(~keep)]
    (before,), (after, _) = (values(recording, port) for port in ("position_ids", "inputs_embeds"))
    assert before.shape[1] == after.shape[1] + 6


def test_sequences_of_one_answer_are_told_apart(load, tmp_path):
    pipe = load("strategy: {local/forks: {}}\n")
    _, recording = recorded(pipe, tmp_path / "r", "1 2 3", max_new_tokens=3)
    assert {walk.sequence for walk in recording.passes} == {0, 1, 2, 3}
    own = [walk for walk in recording.passes if walk.sequence == 0 and walk.phase == "span"]
    assert [walk.step for walk in own] == [0, 1, 2]


def test_memory_is_bounded_by_the_size_of_a_file(pipe, tmp_path, monkeypatch):
    _, whole = recorded(pipe, tmp_path / "whole", "1 2 3", max_new_tokens=8)
    monkeypatch.setattr(writer, "SHARD", 600)
    _, cut = recorded(pipe, tmp_path / "cut", "1 2 3", max_new_tokens=8)
    files = sorted((tmp_path / "cut").glob("*.safetensors"))
    assert len(files) > 3
    assert max(file.stat().st_size for file in files) < 5000
    for one, other in zip(whole.tensors, cut.tensors, strict=True):
        np.testing.assert_array_equal(whole.array(one), cut.array(other))


# How it ends


def test_a_reply_that_is_cancelled_leaves_a_recording_that_says_it_is_partial(pipe, tmp_path):
    with pipe.stream("1 2 3", observer=Recorder(tmp_path / "r"), max_new_tokens=9) as stream:
        next(stream)
    recording = Recording(tmp_path / "r")
    assert not recording.complete
    assert "logits" in recording.port_names
    said = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert said["reply"]["finish_reason"] == "cancelled"


def test_what_a_killed_run_left_can_be_read(pipe, tmp_path):
    recorded(pipe, tmp_path / "r", "1 2 3", max_new_tokens=3)
    index = tmp_path / "r" / "index.jsonl"
    index.write_text(index.read_text()[:-40])
    recording = Recording(tmp_path / "r")
    assert not recording.complete
    assert all(len(recording.array(tensor)) for tensor in recording.tensors)


def test_a_folder_in_use_is_refused_before_anything_runs(pipe, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine.txt").touch()
    with pytest.raises(RecordingError, match="exists and is not empty; name another folder"):
        pipe.generate("1 2", observer=Recorder(tmp_path / "r"))
    assert [file.name for file in (tmp_path / "r").iterdir()] == ["mine.txt"]


def test_a_recorder_serves_one_reply(pipe, tmp_path):
    recorder = Recorder(tmp_path / "r")
    pipe.generate("1 2", observer=recorder, max_new_tokens=1)
    with pytest.raises(PluginError, match="serves one reply; make another for the next"):
        pipe.generate("1 2", observer=recorder)


def test_an_unknown_port_is_answered_with_the_nearest_one(pipe, tmp_path):
    with pytest.raises(InputError, match="no port 'logitz'; did you mean 'logits'"):
        pipe.generate("1 2", observer=Recorder(tmp_path / "r", ports=["logitz"]))
    assert not (tmp_path / "r").exists()


@pytest.fixture
def full(tmp_path, monkeypatch):
    """A file of a recording in ``r`` that the system has no room for."""
    if not Path("/dev/full").exists():
        pytest.skip("no such device")

    def make(name):
        claim = writer.claim

        def claimed(folder):
            claim(folder)
            (folder / name).symlink_to("/dev/full")
            return folder

        monkeypatch.setattr(writer, "claim", claimed)
        monkeypatch.setattr(whole_file.secrets, "token_hex", lambda _: "1")

    return make


FULL = r"r: the recording cannot be written: No space left on device; make room there, or record"


def test_a_full_disk_is_the_recorded_replys_error_and_nobody_elses(
    pipe, tmp_path, monkeypatch, full
):
    expected = pipe.generate("4 5", max_new_tokens=6, seed=0)
    full("ports-00001.safetensors.1.part")
    monkeypatch.setattr(writer, "SHARD", 100)
    stream = pipe.stream("1 2", observer=Recorder(tmp_path / "r"), max_new_tokens=6)
    other = pipe.stream("4 5", max_new_tokens=6, seed=0)
    assert other.reply.tokens == expected.tokens
    with pytest.raises(RecordingError, match=FULL) as caught:
        _ = stream.reply
    assert caught.value.exit_code == 1


def test_what_was_recorded_before_the_disk_was_full_can_be_read(pipe, tmp_path, monkeypatch, full):
    full("ports-00003.safetensors.1.part")
    monkeypatch.setattr(writer, "SHARD", 100)
    with pytest.raises(RecordingError, match=FULL):
        pipe.generate("1 2", observer=Recorder(tmp_path / "r"), max_new_tokens=20)
    recording = Recording(tmp_path / "r")
    assert not recording.complete
    assert {tensor.file for tensor in recording.tensors} == {
        f"ports-{number:05}.safetensors" for number in range(3)
    }
    assert all(recording.array(tensor).size for tensor in recording.tensors)
    assert not (tmp_path / "r" / "manifest.json").exists()


@pytest.mark.parametrize("file", ["index.jsonl", "manifest.json.1.part"])
def test_a_disk_that_is_full_at_the_beginning_or_at_the_end_is_told_too(pipe, tmp_path, full, file):
    full(file)
    with pytest.raises(RecordingError, match=FULL):
        pipe.generate("1 2", observer=Recorder(tmp_path / "r"))


def test_a_picture_that_there_is_no_room_for_is_told_before_anything_runs(
    sketch, scene, tmp_path, full
):
    full("media")
    with pytest.raises(RecordingError, match="cannot be written"):
        sketch.generate("?", images=[scene], observer=Recorder(tmp_path / "r"))
