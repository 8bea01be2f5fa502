"""Playing recorded ports back."""

import numpy as np
import pytest

import triptych
from triptych.recording import Recorder, Recording, RecordingError, Replay

IMAGES = [(4, 4, 1), (2, 6, 2)]
EYES, EMBED, DECODE = "local/vision", "local/embed", "local/decode"
VISION = ["image_features", "deepstack_features"]


@pytest.fixture
def folder(pipe, tmp_path):
    """The recording of an answer of eight tokens about two pictures."""
    pipe.generate(
        "1 2 3", images=IMAGES, max_new_tokens=8, seed=0, observer=Recorder(tmp_path / "r")
    )
    return tmp_path / "r"


@pytest.fixture
def answer(pipe):
    return pipe.generate("1 2 3", images=IMAGES, max_new_tokens=8, seed=0).tokens


def replayed(pipe, replay, text="1 2 3", images=IMAGES, **more):
    """The tokens of the same request, with a Replay in the place of stages."""
    asked = {"max_new_tokens": 8, "seed": 0, **more}
    return pipe.generate(text, images=images, observer=replay, **asked).tokens


def break_stages(pipe, labels):
    """Let these stages fail if they are run."""
    for wired in pipe.wiring.stages:
        if wired.label in labels:
            wired.stage.__class__ = type("Broken", (type(wired.stage),), {"__call__": _fail})


def _fail(self, ports):
    raise AssertionError("it was run")


@pytest.mark.parametrize(
    ("ports", "skipped"),
    [
        (VISION, [EYES]),
        (["inputs_embeds", "deepstack_embeds"], [EYES, EMBED, "merge"]),
        (["logits"], [EYES, EMBED, "merge", DECODE]),
        (None, [EYES, "mrope", EMBED, "merge", DECODE]),
    ],
)
def test_stages_all_of_whose_ports_are_there_are_not_run_nor_those_read_by_them_alone(
    load, folder, answer, ports, skipped
):
    pipe = load()
    replay = Replay(folder, ports=ports)
    assert replay.skips(pipe.wiring) == skipped
    break_stages(pipe, skipped)
    assert replayed(pipe, replay) == answer


def test_what_is_played_back_is_what_is_used(pipe, folder, answer):
    from safetensors.numpy import load_file, save_file

    (file,) = folder.glob("*.safetensors")
    arrays = load_file(file)
    for name in arrays:
        if name.endswith("/logits"):
            arrays[name] = np.roll(arrays[name], 1, -1)
    save_file(arrays, file)
    first = replayed(pipe, Replay(folder, ports=["logits"]), max_new_tokens=1)
    assert first == ((answer[0] + 1) % 32,)


def test_features_belong_to_a_picture_whatever_is_asked_about_it(load, folder):
    expected = load().generate("4 5", images=IMAGES[1:], max_new_tokens=4, seed=0).tokens
    pipe = load()
    break_stages(pipe, [EYES])
    replay = Replay(folder, ports=VISION)
    assert replayed(pipe, replay, "4 5", IMAGES[1:], max_new_tokens=4) == expected


def test_a_prompt_may_be_cut_elsewhere(load, folder, answer):
    pipe = load(overrides={"session.chunk": 3})
    replay = Replay(folder, ports=["inputs_embeds", "logits"])
    break_stages(pipe, replay.skips(pipe.wiring))
    assert DECODE in replay.skipped
    assert replayed(pipe, replay) == answer


def test_others_in_company_run_as_ever(load, folder, answer):
    pipe = load()
    expected = pipe.generate("4 5", max_new_tokens=8, seed=1).tokens
    one = pipe.stream(
        "1 2 3", images=IMAGES, max_new_tokens=8, seed=0, observer=Replay(folder, ports=["logits"])
    )
    other = pipe.stream("4 5", max_new_tokens=8, seed=1)
    assert other.reply.tokens == expected
    assert one.reply.tokens == answer


@pytest.mark.parametrize(
    ("strategy", "sampler"),
    [
        ("vcd", ["greedy"]),
        ({"best_of_n": {"n": 3}}, [{"temperature": 2.0}, "draw"]),
        ("prompt_lookup", ["greedy"]),
    ],
)
def test_sequences_of_the_same_tokens_get_each_what_was_its_own(scene, tmp_path, strategy, sampler):
    changes = {"overrides": {"strategy": strategy, "sampler": sampler}}
    asked = {"images": [scene], "max_new_tokens": 12, "seed": 1}
    expected = triptych.load(**changes).generate(
        "What is this?", observer=Recorder(tmp_path / "r"), **asked
    )
    pipe = triptych.load(**changes)
    found = pipe.generate("What is this?", observer=Replay(tmp_path / "r"), **asked)
    assert found.tokens == expected.tokens


def test_a_recording_may_be_made_while_another_is_played_back(load, folder):
    from triptych.recording import Together, compare

    again = folder.parent / "again"
    pipe = load()
    replayed(pipe, Together([Replay(folder, ports=VISION), Recorder(again)]))
    assert compare(Recording(folder), Recording(again)).same


# What does not fit


def test_another_text_is_refused_with_the_first_token_that_is_not_there(pipe, folder):
    with pytest.raises(
        RecordingError, match=r"lacks what mrope writes for token 9 at place \d+: it has token 2"
    ):
        replayed(pipe, Replay(folder), "1 9 3")


def test_an_answer_that_goes_another_way_ends_where_nothing_was_recorded(pipe, folder):
    with pytest.raises(RecordingError, match="record this run, or replay ports that do not depend"):
        replayed(
            pipe,
            Replay(folder, ports=["inputs_embeds", "deepstack_embeds"]),
            sampler=[{"temperature": 50.0}, "draw"],
        )


def test_another_picture_is_refused(pipe, folder):
    with pytest.raises(RecordingError, match="of other pictures than the request"):
        replayed(pipe, Replay(folder), images=[(4, 4, 7), (2, 6, 2)])
    with pytest.raises(RecordingError, match="has no 'image_features' of the request's picture"):
        replayed(pipe, Replay(folder, ports=VISION), images=[(4, 4, 7)])


def test_ports_that_make_no_stage_whole_are_refused_with_what_lacks(pipe, folder):
    with pytest.raises(
        RecordingError,
        match="replays no stage whole: local/vision writes deepstack_features, too",
    ):
        replayed(pipe, Replay(folder, ports=["image_features"]))


def test_an_unknown_port_is_answered_with_the_nearest_one(folder):
    with pytest.raises(RecordingError, match="no port 'logit'; did you mean 'logits'"):
        Replay(folder, ports=["logit"])


def test_a_recording_of_another_model_is_refused(sketch, folder, scene):
    with pytest.raises(
        RecordingError, match=r"'image_features' as float64 \[7, 8\], and vision_encoder writes"
    ):
        sketch.generate("Hi", images=[scene], observer=Replay(folder, ports=VISION))


def test_what_is_no_recording_is_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"is no recording: index.jsonl cannot be read"):
        Replay(tmp_path)


def test_a_later_format_is_refused_with_the_remedy(folder):
    index = folder / "index.jsonl"
    index.write_text(index.read_text().replace('"format": 1', '"format": 2', 1))
    with pytest.raises(RecordingError, match="has format 2, and this Triptych reads 1; upgrade"):
        Recording(folder)
