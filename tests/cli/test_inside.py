"""`triptych run --tap`, `--record`, `--replay` and `--from`, and `triptych diff`."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from triptych import load
from triptych.core.system import whole_file
from triptych.recording import Recorder, writer

ASKED = ["--text", "Hello", "--max-new-tokens", "6"]


@pytest.fixture(scope="module")
def folder(tiny_pipeline, picture, tmp_path_factory):
    """What `run --record` wrote of an answer about a picture. Do not change it."""
    from triptych.cli.main import main

    place = tmp_path_factory.mktemp("recorded") / "first"
    asked = ["run", str(tiny_pipeline), *ASKED, "--image", str(picture), "--record", str(place)]
    assert main(asked) == 0
    return place


@pytest.fixture
def ask(triptych, tiny_pipeline, picture):
    """Asks the same once more, with other flags besides."""

    def ask(*flags):
        return triptych("run", tiny_pipeline, *ASKED, "--image", picture, *flags)

    return ask


@pytest.fixture
def text(ask):
    return ask().out


# --tap


def test_a_tap_says_on_stderr_what_a_port_is_at_each_step(ask, text):
    done = ask("--tap", "logits")
    assert (done.code, done.out) == (0, text)
    lines = done.err.splitlines()
    assert [line[: len("step 0  decoder  logits float32")] for line in lines] == [
        f"step {step}  decoder  logits float32" for step in range(6)
    ]


def test_as_json_taps_are_part_of_the_reply(ask):
    done = ask("--tap", "image_features,position_ids", "--tap", "logits", "--json")
    assert done.err == ""
    taps = json.loads(done.out)["taps"]
    assert [tap["port"] for tap in taps][:4] == [
        *("image_features", "position_ids", "logits"),
        "position_ids",
    ]
    assert taps[0].keys() >= {"step", "writer", "dtype", "shape", "min", "mean", "max", "values"}


def test_a_tap_at_no_port_is_refused_with_the_nearest_one(ask):
    done = ask("--tap", "logit")
    assert (done.code, done.out) == (2, "")
    assert "there is no port 'logit'; did you mean 'logits'?" in done.err


@pytest.mark.parametrize("flags", [["--tap", ""], ["--tap", "logits", "--tap", " , "]])
def test_a_tap_at_nothing_is_refused(ask, flags):
    done = ask(*flags)
    assert (done.code, done.out) == (2, "")
    assert f"--tap {flags[-1]!r} names no port; write as in --tap logits" in done.err


# --record and --replay


def test_recording_changes_no_word(ask, text, tmp_path):
    done = ask("--record", tmp_path / "r")
    assert (done.code, done.out, done.err) == (0, text, "")
    assert {file.name for file in (tmp_path / "r").iterdir()} == {
        *("index.jsonl", "manifest.json", "media"),
        "ports-00000.safetensors",
    }


def test_with_taps_only_those_are_recorded(ask, tmp_path):
    ask("--record", tmp_path / "r", "--tap", "logits")
    names = load_file(tmp_path / "r" / "ports-00000.safetensors")
    assert {name.partition("/")[2] for name in names} == {"decoder/logits"}


def test_a_folder_in_use_is_refused_before_the_pipeline_is_loaded(triptych, folder):
    done = triptych("run", "no such pipeline", *ASKED, "--record", folder)
    assert done.code == 2
    assert (
        done.err == f"error: {folder} exists and is not empty; name another folder, or remove it\n"
    )


def test_a_replay_gives_the_same_words_without_the_stages(ask, text, folder, tiny_pipeline):
    done = ask("--replay", folder, "--replay-ports", "image_features,deepstack_features", "--json")
    said = json.loads(done.out)
    assert said["skipped"] == ["vision_encoder"]
    assert f"{said['text']}\n" == text
    assert json.loads(ask("--replay", folder, "--json").out)["skipped"] == [
        *("vision_encoder", "mrope", "embeddings", "merge", "decoder")
    ]


def test_weights_that_are_not_needed_are_not_read(
    triptych, tiny_pipeline, picture, text, folder, tmp_path
):
    model = shutil.copytree(tiny_pipeline, tmp_path / "model")
    graph = model / "vision_encoder.onnx"
    asked = ["run", model, *ASKED, "--image", picture]
    for data in model.glob("vision_encoder*.data"):
        data.unlink()
    # Its header tells its ports; what its nodes say is read by ONNX Runtime alone.
    graph.write_bytes(graph.read_bytes().replace(b"MatMul", b"MatMal"))
    assert triptych(*asked).code == 1
    ports = "image_features,deepstack_features"
    done = triptych(*asked, "--replay", folder, "--replay-ports", ports)
    assert (done.code, done.out) == (0, text)


def test_replay_ports_without_a_replay_are_refused(ask):
    done = ask("--replay-ports", "logits")
    assert done.code == 2
    assert "--replay-ports says what of --replay DIR is played back; give both" in done.err


# --from


def test_an_answer_is_asked_again_from_its_manifest(triptych, text, folder):
    done = triptych("run", "--from", folder)
    assert (done.code, done.out) == (0, text)
    assert done.err == "the same 6 tokens as recorded\n"
    said = json.loads(triptych("run", "--from", folder / "manifest.json", "--json").out)
    assert (said["reproduced"], said["first_difference"]) == (True, None)


def test_what_differs_is_said_before_and_the_first_token_after(triptych, folder, tiny_pipeline):
    strange = "sampler=[{temperature: 50.0}, draw]"
    done = triptych("run", "--from", folder, "--set", strange)
    assert done.code == 1
    before, *_, after = done.err.splitlines()
    assert before.startswith("warning: the pipeline's sampler")
    assert after.startswith("warning: the answer is another: new token ")
    said = json.loads(triptych("run", "--from", folder, "--set", strange, "--json").out)
    assert said["reproduced"] is False
    assert said["first_difference"].keys() == {"place", "recorded", "now"}


def test_what_was_played_back_is_part_of_the_manifest(triptych, ask, text, folder, tmp_path):
    flags = ["--replay", folder, "--replay-ports", "image_features,deepstack_features"]
    ask(*flags, "--record", tmp_path / "r")
    done = triptych("run", "--from", tmp_path / "r")
    assert (done.code, done.out) == (0, text)
    assert done.err.startswith(
        f"warning: stages were stood in for by --replay {folder} --replay-ports "
        "deepstack_features,image_features\n"
    )
    assert "warning" not in triptych("run", "--from", tmp_path / "r", *flags).err


def test_plugin_files_are_run_only_when_they_are_typed(
    triptych, tiny_pipeline, plugin_file, tmp_path
):
    plugin = plugin_file(
        "@hookimpl\ndef samplers():\n    return [Component('first', ':First', 'a', role='choose')]",
        "class First:\n    def __call__(self, candidates, context):\n"
        "        return int(candidates.ids[0])",
    )
    chain = "sampler=[local/first]"
    first = ["run", tiny_pipeline, *ASKED, "--plugin", plugin, "--set", chain]
    done = triptych(*first, "--record", tmp_path / "r")
    assert done.code == 0
    refused = triptych("run", "--from", tmp_path / "r")
    assert refused.code == 2
    assert f"made with plugin files; give them, too: --plugin {plugin}" in refused.err
    again = triptych("run", "--from", tmp_path / "r", "--plugin", plugin)
    assert (again.code, again.out) == (0, done.out)
    plugin.write_text(plugin.read_text() + "\n# Another version.\n")
    changed = triptych("run", "--from", tmp_path / "r", "--plugin", plugin)
    assert (changed.code, changed.out) == (0, done.out)
    assert f"warning: {plugin} has changed: its sha256 is" in changed.err


@pytest.mark.parametrize("flags", [["--text", "Hi"], ["--seed", "1"], ["--no-sample"], ["sketch2"]])
def test_what_the_manifest_says_is_not_said_twice(triptych, folder, flags):
    done = triptych("run", *flags, "--from", folder)
    assert done.code == 2
    assert "--from says the whole request; leave out" in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
def test_a_full_disk_is_told_on_a_line_of_its_own_after_the_answer(
    ask, text, tmp_path, monkeypatch
):
    claim = writer.claim

    def full(folder):
        claim(folder)
        (folder / "manifest.json.1.part").symlink_to("/dev/full")
        return folder

    monkeypatch.setattr(writer, "claim", full)
    monkeypatch.setattr(whole_file.secrets, "token_hex", lambda _: "1")
    done = ask("--record", tmp_path / "r")
    assert (done.code, done.out) == (1, text)
    assert done.err.startswith(
        f"error: {tmp_path / 'r'}: the recording cannot be written: No space"
    )


def test_what_is_changed_of_the_pipeline_is_said(triptych, tiny_pipeline, tmp_path):
    triptych("run", tiny_pipeline, "--text", "Hi", "--record", tmp_path / "r")
    done = triptych("run", "--from", tmp_path / "r", "--set", "sampler=[{top_k: 3}, draw]")
    assert done.err.splitlines()[:2] == [
        "warning: the pipeline's sampler was greedy, and is top_k, draw",
        "warning: the pipeline's sampler.top_k.k was not there, and is 3",
    ]


@pytest.mark.parametrize(
    ("asked", "change", "said"),
    [
        (["--max-new-tokens", "3"], "--set=stop.max_new_tokens=2", "max_new_tokens"),
        (["--stop", "e"], "--set=stop.strings=[a]", "stop"),
    ],
)
def test_a_change_that_the_recorded_request_would_not_hear_is_refused(
    triptych, tiny_pipeline, tmp_path, asked, change, said
):
    triptych("run", tiny_pipeline, "--text", "Hi", *asked, "--record", tmp_path / "r")
    done = triptych("run", "--from", tmp_path / "r", change)
    assert (done.code, done.out) == (2, "")
    assert f"would change nothing: the recorded request says its {said} itself" in done.err
    assert triptych("run", "--from", tmp_path / "r", "--set=session.chunk=8").code == 0


@pytest.mark.parametrize(
    "change",
    [
        "--set=sampler.top_k=3",
        "--set=sampler=[draw]",
        "--remove=sampler.top_k",
        "--replace=sampler.draw=greedy",
        "--insert=before sampler.draw: {min_p: 0.1}",
    ],
)
def test_so_is_a_change_of_a_chain_where_the_request_has_its_own(
    triptych, tiny_pipeline, tmp_path, change
):
    load(tiny_pipeline).generate("Hi", top_k=5, observer=Recorder(tmp_path / "r"), max_new_tokens=3)
    done = triptych("run", "--from", tmp_path / "r", change)
    assert (done.code, done.out) == (2, "")
    assert "would change nothing: the recorded request says its top_k itself" in done.err


def test_so_it_is_where_the_request_has_a_temperature_of_0(triptych, tiny_pipeline, tmp_path):
    load(tiny_pipeline).generate("Hi", temperature=0.0, observer=Recorder(tmp_path / "r"))
    done = triptych("run", "--from", tmp_path / "r", "--set=sampler=[draw]")
    assert done.code == 2
    assert "would change nothing: the recorded request says its temperature itself" in done.err


def test_what_is_no_manifest_is_refused(triptych, tmp_path):
    done = triptych("run", "--from", tmp_path)
    assert done.code == 2
    assert "manifest.json: cannot be read: No such file or directory" in done.err


# diff


@pytest.fixture
def other(folder, tmp_path):
    """The same recording with other logits from the fourth step on."""
    place = shutil.copytree(folder, tmp_path / "other")
    file = place / "ports-00000.safetensors"
    arrays = load_file(file)
    for name in arrays:
        if name.endswith("/logits") and int(name.partition("/")[0]) > 6:
            arrays[name] = arrays[name] * 1.5
    save_file(arrays, file)
    return place


def test_two_runs_that_are_the_same(triptych, ask, folder, tmp_path):
    ask("--record", tmp_path / "r")
    done = triptych("diff", folder, tmp_path / "r")
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("the same: input_ids, visual_index, ")


def test_the_first_difference_is_named_and_the_code_is_1(triptych, folder, other):
    done = triptych("diff", folder, other)
    assert done.code == 1
    last = done.out.splitlines()[-1]
    assert last.startswith(
        "first difference: logits of decoder at step 3 (new token 3): relative error 5.00e-01, "
    )
    row = next(line for line in done.out.splitlines() if line.lstrip().startswith("decoder "))
    assert row.split()[1:5] == ["logits", "6", "3", "5.00e-01"]
    assert triptych("diff", folder, other, "--tolerance", "0.6").code == 0
    assert triptych("diff", folder, other, "--port", "position_ids").code == 0


def test_as_json(triptych, folder, other):
    done = triptych("diff", folder, other, "--json")
    assert done.code == 1
    said = json.loads(done.out)
    assert (said["same"], said["first"]["port"], said["first"]["step"]) == (False, "logits", 3)
    assert said["first"]["relative"] == pytest.approx(0.5)
    assert [row["port"] for row in said["ports"] if row["differing"]] == ["logits"]


def test_what_is_no_recording_is_refused(triptych, folder, tmp_path):
    done = triptych("diff", folder, tmp_path)
    assert done.code == 2
    assert f"{tmp_path} is no recording: index.jsonl cannot be read" in done.err


# show --trace


def test_a_trace_shows_stages_times_shapes_and_bytes_of_one_run(triptych, tiny_pipeline, in_folder):
    done = triptych(
        *("show", tiny_pipeline, "--trace", "--trace-json", "trace.json"),
        *("--max-new-tokens", 4),
    )
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    (encoder,) = [line for line in lines if line[:2] == ["INPUT", "vision_encoder"]]
    assert encoder[3:5] == ["image_features", "float32"]
    assert float(encoder[2]) > 0
    assert ["SPAN", "decoder", "(3", "calls)"] in [line[:4] for line in lines]
    events = json.loads((in_folder / "trace.json").read_text())["traceEvents"]
    decoder = [event for event in events if event["name"] == "decoder"]
    assert [event["args"]["step"] for event in decoder] == [0, 1, 2, 3]


def test_a_trace_of_a_question_of_ones_own(triptych, tiny_pipeline):
    done = triptych("show", tiny_pipeline, "--trace", "--text", "Hello", "--max-new-tokens", 1)
    assert done.out.startswith("Hello\n")
    assert "vision_encoder" not in done.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--text", "Hello"], "--text, --image and --max-new-tokens are of --trace; give that"),
        (["--trace", "--mermaid"], "--trace shows one run; ask for --mermaid or --digests without"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(triptych, tiny_pipeline, flags, message):
    done = triptych("show", tiny_pipeline, *flags)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
