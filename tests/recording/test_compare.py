"""Comparing two recordings."""

import json
import math

import numpy as np
import pytest
from scipy.spatial.distance import cosine
from scipy.special import softmax
from scipy.stats import entropy

from triptych.recording import Recorder, Recording, RecordingError, compare
from triptych.recording.measures import distance

IMAGES = [(4, 4, 1)]
HERE, THERE = np.array([3.0, 0.0, 4.0], np.float32), np.array([3.0, 1.0, 4.0], np.float32)


# Two arrays


def test_the_relative_error_is_the_norm_of_the_difference_over_that_of_the_first():
    far = distance(HERE, THERE, "any")
    assert (far.equal, far.relative, far.largest) == (False, 0.2, 1.0)
    assert far.cosine == pytest.approx(1 - cosine(HERE, THERE))
    assert (far.kl, far.top1) == (None, None)


def test_logits_are_compared_as_distributions():
    rng = np.random.default_rng(0)
    here = rng.normal(size=(1, 3, 50)).astype(np.float32)
    there = here + rng.normal(scale=0.3, size=here.shape).astype(np.float32)
    far = distance(here, there, "logits")
    rows = [
        entropy(softmax(one.astype(float)), softmax(other.astype(float)))
        for one, other in zip(here[0], there[0], strict=True)
    ]
    assert far.kl == pytest.approx(max(rows), rel=1e-6)
    same = [one.argmax() == other.argmax() for one, other in zip(here[0], there[0], strict=True)]
    assert far.top1 == pytest.approx(np.mean(same))


def test_precisions_are_compared_by_their_numbers():
    assert distance(HERE, HERE.astype(np.float16), "any").equal
    far = distance(np.float32([1 / 3]), np.float16([1 / 3]), "any")
    assert 0 < far.relative < 1e-3


def test_a_mask_of_infinities_is_the_same_where_both_have_it():
    here = np.array([1.0, -np.inf, 2.0])
    assert distance(here, np.array([1.0, -np.inf, 4.0]), "any").largest == 2.0
    far = distance(here, np.array([1.0, 0.0, 2.0]), "any")
    assert far.reason == "not finite: 1 numbers here and 0 there"
    assert far.exceeds(1e9)


def test_shapes_that_differ_are_a_difference_of_their_own():
    far = distance(np.zeros(3), np.zeros((3, 1)), "any")
    assert far.reason == "shapes differ: [3] here and [3, 1] there"


def test_nothing_is_far_from_nothing():
    assert distance(np.zeros(0), np.zeros(0), "any").equal
    assert math.isinf(distance(np.zeros(2), np.ones(2), "any").relative)


# Two recordings


@pytest.fixture
def record(load, tmp_path):
    """Records an answer; keywords are those of `triptych.load`, and what is asked."""

    def record(name, text="1 2 3", *, ports=None, tokens=6, extra="", **options):
        pipe = load(extra, **options)
        recorder = Recorder(tmp_path / name, ports=ports)
        pipe.generate(text, images=IMAGES, max_new_tokens=tokens, seed=0, observer=recorder)
        return Recording(tmp_path / name)

    return record


def edited(recording, port, change, nth=0):
    """The recording with one tensor of a port changed in its file."""
    from safetensors.numpy import load_file, save_file

    tensor = [one for one in recording.tensors if one.port == port][nth]
    file = recording.folder / tensor.file
    arrays = load_file(file)
    arrays[tensor.name] = change(arrays[tensor.name])
    save_file(arrays, file)
    return Recording(recording.folder)


def rewritten(recording, old, new):
    """The recording with something else in its index."""
    index = recording.folder / "index.jsonl"
    index.write_text(index.read_text().replace(old, new))
    return Recording(recording.folder)


def test_the_same_run_is_the_same_to_the_bit(record):
    found = compare(record("a"), record("b"))
    assert (found.same, found.first, found.notes) == (True, None, [])
    assert [(row.writer, row.port) for row in found.rows][-2:] == [
        ("merge", "deepstack_embeds"),
        ("local/decode", "logits"),
    ]


def test_the_first_difference_is_named_in_the_order_of_stages_and_steps(record):
    there = edited(record("b"), "logits", lambda value: value + 1, nth=1)
    there = edited(there, "position_ids", lambda value: value + 1, nth=2)
    found = compare(record("a"), there)
    assert not found.same
    assert (found.first.port, found.first.step) == ("logits", 1)
    assert found.first.where == "logits of local/decode at step 1 (new token 1)"
    rows = {(row.writer, row.port): row for row in found.rows}
    assert rows["mrope", "position_ids"].first.step == 2
    assert rows["local/decode", "logits"].differing == 1


def test_what_lies_within_the_tolerance_is_the_same(record):
    here, there = record("a"), edited(record("b"), "image_features", lambda value: value * 1.001)
    assert compare(here, there).first.distance.relative == pytest.approx(1e-3)
    assert compare(here, there, tolerance=2e-3).same
    assert not compare(here, there, tolerance=5e-4).same


def test_from_where_the_tokens_part_on_nothing_is_compared(record):
    here = record("a")
    there = record("b", extra="sampler: [{temperature: 9.0}, draw]\n")
    found = compare(here, there)
    own, other = (
        [one.array(tensor).tolist() for tensor in one.tensors if tensor.port == "input_ids"]
        for one in (here, there)
    )
    step = next(
        place
        for place, pair in enumerate(zip(own, other, strict=True))
        if len(set(map(str, pair))) > 1
    )
    assert found.parting.step == step
    assert (found.parting.here, found.parting.there) == (own[step][0], other[step][0])
    rows = {row.port: row for row in found.rows}
    assert rows["logits"].steps == step
    assert found.first is None
    assert not found.same


def test_other_prompts_part_at_once(record):
    found = compare(record("a"), record("b", "1 2 4"))
    assert (found.parting.step, found.parting.here, found.parting.there) == (0, 3, 4)
    assert found.rows == []


def test_a_prompt_may_have_been_cut_elsewhere(record):
    found = compare(record("a"), record("b", overrides={"session.chunk": 3}), tolerance=1e-12)
    assert found.same
    rows = {(row.writer, row.port): row.steps for row in found.rows}
    assert rows["local/embed", "inputs_embeds"] == rows["local/decode", "logits"] == 6


def test_stages_may_be_called_otherwise(record):
    there = rewritten(record("b"), '"writer": "local/embed"', '"writer": "words"')
    found = compare(record("a"), there)
    assert found.same
    assert ("local/embed", "inputs_embeds") in [(row.writer, row.port) for row in found.rows]


def test_a_port_that_one_of_them_lacks_is_a_difference(record):
    there = rewritten(record("b"), '"port": "next_position"', '"port": "next_place"')
    found = compare(record("a"), there)
    assert not found.same
    assert found.alone == {"next_position": "here", "next_place": "there"}


def test_ports_that_nobody_asked_for_are_no_difference_but_a_note(record):
    found = compare(record("a"), record("b", ports=["logits"]))
    assert found.same
    assert [row.port for row in found.rows] == ["logits"]
    assert any("b was recorded without input_ids" in note for note in found.notes)


def test_ports_may_be_chosen(record):
    here, there = record("a"), edited(record("b"), "logits", lambda value: value + 1)
    found = compare(here, there, ports=["position_ids"])
    assert found.same
    assert [row.port for row in found.rows] == ["position_ids"]
    with pytest.raises(RecordingError, match="has a port 'logit'; did you mean 'logits'"):
        compare(here, there, ports=["logit"])


def test_an_answer_that_ended_earlier_is_compared_as_far_as_it_goes(record):
    found = compare(record("a"), record("b", tokens=3))
    assert found.same
    assert any("or ended earlier" in note for note in found.notes)


def test_two_recordings_without_a_port_in_common_cannot_be_compared(record):
    with pytest.raises(RecordingError, match=r"nothing to compare: .* has logits, and .* has pos"):
        compare(record("a", ports=["logits"]), record("b", ports=["position_ids"]))


def test_a_partial_recording_says_so(record):
    there = rewritten(record("b"), '{"complete": true}\n', "")
    found = compare(record("a"), there)
    assert found.notes == [f"{there.folder} is partial: its run did not come to its end"]


def test_as_json_there_is_no_number_that_json_lacks(record):
    there = edited(record("b"), "visual_index", lambda value: value[:3])
    said = json.loads(json.dumps(compare(record("a"), there).to_dict(), allow_nan=False))
    assert said["first"]["reason"] == "shapes differ: [9] here and [3] there"
    assert said["same"] is False
