"""`triptych run`."""

import io
import json
import os
import re
import shutil

import pytest
from PIL import Image

import triptych as package

WAVES = re.compile(r"[a-z ]+")


@pytest.fixture(scope="module")
def expected(tiny_pipeline, picture):
    """The replies that Python gives, by what was asked."""
    pipeline = package.load(tiny_pipeline)
    return {
        "text": pipeline.generate("Hello", max_new_tokens=24),
        "picture": pipeline.generate("Hello", images=[picture], max_new_tokens=24),
        "system": pipeline.generate("Hello", system="Be brief.", max_new_tokens=24),
        "drawn": pipeline.generate("Hello", temperature=3.0, seed=7, max_new_tokens=24),
        "100 tokens": pipeline.generate("Hello"),
    }


def test_it_prints_the_reply_and_a_newline(triptych, tiny_pipeline, expected):
    done = triptych("run", tiny_pipeline, "--text", "Hello", "--max-new-tokens", 24)
    assert (done.code, done.out, done.err) == (0, f"{expected['text'].text}\n", "")
    assert WAVES.fullmatch(done.out.strip())


def test_no_stream_prints_the_same(triptych, tiny_pipeline, expected):
    done = triptych("run", tiny_pipeline, "--text=Hello", "--max-new-tokens=24", "--no-stream")
    assert done.out == f"{expected['text'].text}\n"


def test_the_length_is_the_pipelines_own_when_no_flag_says_it(triptych, tiny_pipeline, expected):
    done = triptych("run", tiny_pipeline, "--text", "Hello")
    assert done.out == f"{expected['100 tokens'].text}\n"


def test_pieces_are_printed_as_they_come(tiny_pipeline, monkeypatch):
    from triptych.cli import run

    said = []
    monkeypatch.setattr(run, "say", said.append)
    run.run(text="Hello", pipeline=str(tiny_pipeline), max_new_tokens=5)
    assert len(said) == 6
    assert said[-1] == "\n"


def test_a_picture_changes_the_reply(triptych, tiny_pipeline, picture, expected):
    done = triptych("run", tiny_pipeline, "--text=Hello", "--image", picture, "--max-new-tokens=24")
    assert done.out == f"{expected['picture'].text}\n"
    assert done.out != f"{expected['text'].text}\n"


def test_pictures_are_found_from_the_working_directory_and_may_be_several(
    triptych, tiny_pipeline, in_folder
):
    Image.new("RGB", (64, 64), "blue").save(in_folder / "a.png")
    Image.new("RGB", (64, 64), "red").save(in_folder / "b.png")
    arguments = ["run", tiny_pipeline, "--text=Hello", "--max-new-tokens=2", "--json"]
    done = triptych(*arguments, "--image", "a.png", "--image", "b.png")
    assert json.loads(done.out)["usage"]["image_tokens"] == 8


def test_videos_are_shown_after_the_pictures(triptych, tiny_pipeline, in_folder):
    (in_folder / "clip").mkdir()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("blue", "red", "green")]
    for index, frame in enumerate(frames):
        frame.save(in_folder / "clip" / f"{index}.png")
    frames[0].save(in_folder / "a.png")
    frames[0].save(in_folder / "a.gif", save_all=True, append_images=frames[1:], duration=500)
    arguments = ["run", tiny_pipeline, "--text=Hello", "--max-new-tokens=2", "--json"]
    done = triptych(*arguments, "--video", "clip", "--image", "a.png", "--video", "a.gif")
    found = json.loads(done.out)
    # Four rows of the picture, and as many for each of two steps of each clip.
    assert found["usage"]["image_tokens"] == 4 + 2 * 2 * 4
    expected = package.load(tiny_pipeline).generate(
        "Hello", images=[frames[0]], videos=[frames, frames], max_new_tokens=2
    )
    assert found["tokens"] == list(expected.tokens)


def test_a_system_message_is_heard(triptych, tiny_pipeline, expected):
    done = triptych(
        "run", tiny_pipeline, "--text=Hello", "--system=Be brief.", "--max-new-tokens=24"
    )
    assert done.out == f"{expected['system'].text}\n"


def test_text_may_come_from_stdin(triptych, tiny_pipeline, expected):
    done = triptych("run", tiny_pipeline, "--text=-", "--max-new-tokens=24", stdin="Hello\n")
    assert done.out == f"{expected['text'].text}\n"


def test_stdin_that_is_no_text_is_refused(triptych, tiny_pipeline):
    stdin = io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8")
    done = triptych("run", tiny_pipeline, "--text=-", stdin=stdin)
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: stdin is not text in utf-8: unexpected end of data\n"


def test_json_is_one_object_with_the_fields_that_are_promised(
    triptych, tiny_pipeline, picture, expected
):
    done = triptych(
        "run", tiny_pipeline, "--text=Hello", "--image", picture, "--max-new-tokens=24", "--json"
    )
    assert done.code == 0
    assert done.out.count("\n") == 1
    found = json.loads(done.out)
    assert list(found) == ["text", "tokens", "finish_reason", "usage", "timings", "seed"]
    assert found["text"] == expected["picture"].text
    assert found["tokens"] == list(expected["picture"].tokens)
    assert found["finish_reason"] == "length"
    # 64 by 96 pixels are 2 by 3 places of 32.
    assert found["usage"] == {
        "prompt_tokens": expected["picture"].usage.prompt_tokens,
        "image_tokens": 6,
        "completion_tokens": 24,
        "cached_tokens": 0,
        "image_tokens_kept": 6,
    }
    assert list(found["timings"]) == ["load", "vision", "prefill", "decode"]
    assert all(seconds > 0 for seconds in found["timings"].values())
    assert isinstance(found["seed"], int)


def test_json_keeps_letters_of_all_languages(triptych, tiny_pipeline, monkeypatch):
    from triptych.core.pipeline import Pipeline

    make = Pipeline._reply

    def with_umlaut(self, *arguments):
        import dataclasses

        return dataclasses.replace(make(self, *arguments), text="Köln 東京")

    monkeypatch.setattr(Pipeline, "_reply", with_umlaut)
    done = triptych("run", tiny_pipeline, "--text=Hello", "--max-new-tokens=2", "--json")
    assert '"text": "Köln 東京"' in done.out


def test_the_seed_decides_what_is_drawn(triptych, tiny_pipeline, expected):
    arguments = ["run", tiny_pipeline, "--text=Hello", "--temperature=3", "--max-new-tokens=24"]
    first, second, other = (triptych(*arguments, f"--seed={seed}").out for seed in (7, 7, 8))
    assert first == second == f"{expected['drawn'].text}\n"
    assert first != other


def test_no_sample_is_greedy_on_a_pipeline_that_draws(triptych, tiny_pipeline, expected):
    chain = "--set=sampler=[{temperature: 3.0}, draw]"
    arguments = ["run", tiny_pipeline, "--text=Hello", "--max-new-tokens=24", chain]
    assert triptych(*arguments, "--seed=7").out == f"{expected['drawn'].text}\n"
    assert triptych(*arguments, "--no-sample").out == f"{expected['text'].text}\n"
    assert triptych(*arguments, "--temperature=0").out == f"{expected['text'].text}\n"


def test_a_stop_text_ends_the_reply_and_is_left_out(triptych, tiny_pipeline, expected):
    text = expected["100 tokens"].text
    stop = text[10:13]
    done = triptych("run", tiny_pipeline, "--text=Hello", "--stop", stop, "--stop=XYZ", "--json")
    found = json.loads(done.out)
    assert found["finish_reason"] == "stop"
    assert found["text"] == text[: text.index(stop)]


def test_verbose_says_how_it_ended_on_stderr(triptych, tiny_pipeline, picture):
    arguments = ["run", tiny_pipeline, "--text=Hello", "--max-new-tokens=3", "--seed=5", "-v"]
    done = triptych(*arguments, "--image", picture)
    assert re.fullmatch(
        r"length: \d+ tokens in, 6 of them visual, 3 out, load \d+\.\d\d s, "
        r"vision \d+\.\d\d s, prefill \d+\.\d\d s, decode \d+\.\d\d s, seed 5\n",
        done.err,
    )
    assert "vision" not in triptych(*arguments).err


def test_a_replaced_item_may_be_written_with_an_equals_sign_or_a_colon(triptych, tiny_pipeline):
    for change in ("mrope=merge_nothing", "mrope: merge_nothing", "mrope: {merge_nothing: a=b}"):
        done = triptych("run", tiny_pipeline, "--text=Hello", "--replace", change)
        assert done.code == 2
        assert "stages.mrope: there is no stage 'merge_nothing'" in done.err
    done = triptych(
        "run", tiny_pipeline, "--text=Hello", "--max-new-tokens=2",
        "--replace=decoder={decoder: {graph: decoder.onnx}}",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")


WARP = """
class Silent:
    keeps_winner = False

    def __call__(self, candidates, context):
        return candidates.keep(candidates.ids != 72)
"""
WARP_HOOK = """
@hookimpl
def samplers():
    return [Component("silent", ":Silent", "never says i", role="warp")]
"""


def test_a_step_from_a_plugin_file_takes_part(triptych, tiny_pipeline, plugin_file):
    path = plugin_file(WARP_HOOK, WARP)
    done = triptych(
        "run", tiny_pipeline, "--text=Hello", "--max-new-tokens=24", "--plugin", path,
        "--set=sampler=[local/silent, greedy]",
    )  # fmt: skip
    assert done.code == 0
    assert "i" not in done.out


def test_the_yaml_file_itself_may_be_named(triptych, tiny_pipeline, expected):
    done = triptych("run", tiny_pipeline / "pipeline.yaml", "--text=Hello", "--max-new-tokens=24")
    assert done.out == f"{expected['text'].text}\n"


def test_files_outside_of_the_folder_need_a_flag(triptych, tiny_pipeline, in_folder):
    text = (tiny_pipeline / "pipeline.yaml").read_text(encoding="utf-8")
    (in_folder / "mine").mkdir()
    mine = in_folder / "mine" / "my.yaml"
    mine.write_text(text.replace("format: 1", f"format: 1\nroot: {tiny_pipeline}"))
    refused = triptych("run", mine, "--text=Hello", "--max-new-tokens=2")
    assert refused.code == 2
    assert "pass --allow-outside" in refused.err
    allowed = triptych("run", mine, "--text=Hello", "--max-new-tokens=2", "--allow-outside")
    assert allowed.code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--temperature=-1"],
            "--temperature -1.0: sampler.temperature.temperature: -1.0 is not above 0",
        ),
        (
            ["--no-sample", "--top-p=0.9"],
            "--top-p 0.9: cannot be combined with --no-sample, which takes the most likely token",
        ),
        (
            ["--set", "sampler.tpo_p=0.9"],
            "--set sampler.tpo_p=0.9: there is no sampling step 'tpo_p'\n"
            "  did you mean 'top_p'?\n  known: greedy, temperature, top_k, top_p",
        ),
        (
            ["--set", "threads"],
            "--set threads: is not of the form ADDRESS=VALUE\n  as in sampler.top_p=0.9",
        ),
        (
            ["--remove", "vision_encode"],
            "--remove 'vision_encode': there is no stage 'vision_encode'\n"
            "  did you mean 'vision_encoder'?\n"
            "  known: vision_encoder, mrope, embeddings, merge, decoder",
        ),
        (["--image", "no.png"], "images[0] (no.png): there is no such file"),
        (["--image", "no.png", "--json"], "images[0] (no.png): there is no such file"),
        (["--video", "no.mp4"], "videos[0] (no.mp4): there is no such file"),
    ],
)
def test_what_the_user_can_mend_is_one_message_and_the_code_2(
    triptych, tiny_pipeline, in_folder, arguments, message
):
    done = triptych("run", tiny_pipeline, "--text=Hello", *arguments)
    assert (done.code, done.out, done.err) == (2, "", f"error: {message}\n")


def test_a_pipeline_that_is_not_there(triptych, in_folder):
    (in_folder / "model").mkdir()
    done = triptych("run", "modle", "--text=Hello")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: modle: there is no such file or folder, and no built-in model of that name\n"
        "  did you mean 'model'?\n"
        "  known: sketch\n"
    )


BREAKING = """
class Breaking:
    keeps_winner = False

    def __call__(self, candidates, context):
        raise RuntimeError("out of cheese")
"""
BREAKING_HOOK = """
@hookimpl
def samplers():
    return [Component("breaking", ":Breaking", "always raises", role="warp")]
"""


def test_a_plugin_that_raises_is_named_without_a_traceback(triptych, tiny_pipeline, plugin_file):
    path = plugin_file(BREAKING_HOOK, BREAKING)
    arguments = ["run", tiny_pipeline, "--text=Hello", "--plugin", path]
    done = triptych(*arguments, "--set=sampler=[local/breaking, greedy]")
    assert done.code == 1
    assert "local/breaking" in done.err
    assert "RuntimeError: out of cheese" in done.err
    assert "Traceback" not in done.err
    shown = triptych(*arguments, "--set=sampler=[local/breaking, greedy]", "--debug")
    assert shown.code == 1
    assert "Traceback" in shown.err
    assert 'raise RuntimeError("out of cheese")' in shown.err
    assert shown.err.count("error: ") == 1


def test_a_broken_graph_is_code_1_or_2_but_never_a_traceback(triptych, tiny_pipeline, in_folder):
    shutil.copytree(tiny_pipeline, in_folder / "broken")
    (in_folder / "broken" / "decoder.onnx").write_bytes(b"not a graph")
    done = triptych("run", "broken", "--text=Hello")
    assert done.code in (1, 2)
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert "decoder.onnx" in done.err
    assert "Traceback" not in done.err


def test_stdin_that_is_no_text_is_told_whatever_the_locale(tiny_pipeline):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "triptych", "run", str(tiny_pipeline), "--text", "-"],
        input=b"\xff\xfe",
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.decode() == "error: stdin is not text in utf-8: invalid start byte\n"


def test_flags_that_are_not_given_cost_no_validators(monkeypatch):
    import pydantic

    from triptych.cli.main import PRESET, command

    made = []
    build = pydantic.TypeAdapter.__init__
    monkeypatch.setattr(
        pydantic.TypeAdapter, "__init__", lambda *a, **k: made.append(a) or build(*a, **k)
    )
    command.cache_clear()
    verb = command("run").commands["run"]
    arguments = ["--text", "Hello", "--stop", "a", "--stop", "b"]
    context = verb.make_context("run", arguments, default_map=PRESET)
    assert context.params["stop"] == ["a", "b"]
    assert (context.params["image"], context.params["seed"]) == ((), None)
    assert (context.params["text"], context.params["pipeline"]) == ("Hello", "sketch")
    # Of the list of stops and its element; a text is what it is.
    assert len(made) == 2


def test_logprobs_without_json_have_no_place(triptych, tiny_pipeline):
    done = triptych("run", tiny_pipeline, "--text", "Hello", "--logprobs", "2")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --logprobs 2: they are part of --json; give that, too\n"
