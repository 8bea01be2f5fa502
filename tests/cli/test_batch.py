"""`triptych batch`."""

import base64
import json
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import triptych as package
from tests import fakes
from triptych.workbench.lines.batch_request import seed_of


@pytest.fixture
def file(tmp_path):
    return tmp_path / "in.jsonl"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


def write(file, *lines):
    """Lines as they are, or objects as JSON."""
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
    return file


def records(out):
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def said(out):
    """Records without what depends on the time and on who was asked before."""
    found = records(out)
    for one in found:
        one.pop("timings", None)
        one.get("usage", {}).pop("cached_tokens", None)
    return found


def command(*arguments):
    return [sys.executable, "-m", "triptych", "batch", *map(str, arguments)]


def test_every_line_has_the_reply_that_it_has_alone(triptych, tiny_pipeline, picture, file, out):
    encoded = base64.b64encode(picture.read_bytes()).decode()
    (file.parent / "a.png").write_bytes(picture.read_bytes())
    write(
        file,
        {"text": "Hello", "id": "one"},
        {"text": "Hello", "images": ["a.png"], "settings": {"max_new_tokens": 5}},
        "",
        {"messages": [{"role": "user", "content": [
            {"type": "image", "image": f"data:image/png;base64,{encoded}"},
            {"type": "text", "text": "Hello"},
        ]}]},
        {"text": "Hello", "system": "Be brief.", "id": 7},
    )  # fmt: skip
    done = triptych("batch", file, out, tiny_pipeline, "--max-new-tokens", 12)
    assert done.code == 0, done.err
    assert "4 lines in" in done.err
    pipe = package.load(tiny_pipeline)
    expected = [
        pipe.generate("Hello", max_new_tokens=12),
        pipe.generate("Hello", images=[picture], max_new_tokens=5),
        pipe.generate("Hello", images=[picture], max_new_tokens=12),
        pipe.generate("Hello", system="Be brief.", max_new_tokens=12),
    ]
    found = records(out)
    assert [one["text"] for one in found] == [reply.text for reply in expected]
    assert [one["tokens"] for one in found] == [list(reply.tokens) for reply in expected]
    assert [(one["line"], one.get("id")) for one in found] == [
        (1, "one"),
        (2, None),
        (4, None),
        (5, "7"),
    ]


def test_replies_are_in_the_order_of_the_lines_whoever_is_ready_first(triptych, file, out):
    write(file, *({"text": "Hi", "settings": {"max_new_tokens": 1 + n % 7}} for n in range(40)))
    assert triptych("batch", file, out, "--temperature", 3).code == 0
    assert [one["line"] for one in records(out)] == list(range(1, 41))


def test_a_line_that_cannot_be_answered_has_an_error_and_the_others_an_answer(
    triptych, tiny_pipeline, file, out
):
    write(
        file,
        {"text": "Hello"},
        '{"text": "Hello"',
        {"text": "Hello", "images": ["absent.png"], "id": "x"},
        {"text": "Hello", "settings": {"temprature": 1}},
        {"text": "Hello", "colour": "red"},
        {"text": "Hello " * 5000},
        {"text": "Hello", "settings": {"sampler": ["nothing"]}},
        {"text": "Hello", "images": [{"base64": "AAAA"}]},
        {"text": "Hello"},
    )
    done = triptych("batch", file, out, tiny_pipeline, "--max-new-tokens", 3)
    assert done.code == 3
    assert "9 lines, 7 with errors" in done.err
    found = records(out)
    assert [one["line"] for one in found] == list(range(1, 10))
    assert found[0]["text"] == found[8]["text"]
    errors = [one["error"] for one in found[1:8]]
    for error, part in zip(
        errors,
        (
            "the line is not JSON: Expecting ',' delimiter at column 17",
            f"images[0] ({file.parent / 'absent.png'}): there is no such file",
            "there is no setting 'temprature'; did you mean 'temperature'?",
            "there is no field 'colour'",
            "tokens",
            "there is no sampler 'nothing'",
            "images[0] (3 bytes) is not a picture that can be read",
        ),
        strict=True,
    ):
        assert part in error
    assert found[2]["id"] == "x"


def test_a_line_without_a_seed_has_one_of_its_own(triptych, file, out):
    write(file, {"text": "Hi"}, {"text": "Hi"}, {"text": "Hi", "settings": {"seed": 4}})
    triptych("batch", file, out, "--temperature", 2, "--seed", 9)
    found = records(out)
    assert [one["seed"] for one in found] == [seed_of(9, 1), seed_of(9, 2), 4]
    pipe = package.load("sketch", overrides={})
    alone = pipe.generate("Hi", temperature=2.0, seed=seed_of(9, 2))
    assert found[1]["tokens"] == list(alone.tokens)


def test_flags_hold_for_lines_that_do_not_say_otherwise(triptych, file, out):
    write(file, {"text": "Describe."}, {"text": "Describe.", "settings": {"stop": ["zzz"]}})
    done = triptych(
        "batch", file, out, "--temperature", 5, "--stop", "e", "--stop", "a", "--logprobs", 1
    )
    assert done.code == 0
    stopped, free = records(out)
    assert stopped["finish_reason"] == "stop"
    assert not set("ea") & set(stopped["text"])
    assert free["finish_reason"] != "stop"
    assert len(free["logprobs"]) == len(free["tokens"])


def test_what_changes_a_pipeline_changes_it_here(triptych, file, out, tmp_path):
    write(file, {"text": "1 2 3"})
    pipeline = fakes.pipeline_file(tmp_path)
    done = triptych(
        "batch", file, out, pipeline, "--plugin", fakes.__file__, "--set", "stop.max_new_tokens=2"
    )
    assert done.code == 0, done.err
    assert len(records(out)[0]["tokens"]) == 2


# Going on.


def test_the_same_command_goes_on_where_the_output_ends(triptych, file, out):
    write(file, "", *({"text": f"Say {n}"} for n in range(12)))
    triptych("batch", file, out, "--temperature", 2)
    whole, expected = out.read_bytes(), said(out)
    for lines, torn in ((0, b""), (5, b""), (5, b'{"line": 6, "te'), (11, b"{"), (12, b"")):
        out.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]) + torn)
        done = triptych("batch", file, out, "--temperature", 2)
        assert done.code == 0
        assert said(out) == expected
        if lines:
            assert f"12 lines ({lines} of them before)" in done.err


def test_errors_of_an_earlier_run_count(triptych, file, out):
    write(file, "{", {"text": "Hi"})
    assert triptych("batch", file, out).code == 3
    done = triptych("batch", file, out)
    assert done.code == 3
    assert "2 lines, 1 with errors (2 of them before)" in done.err
    assert len(records(out)) == 2


def test_lines_may_be_added_at_the_end_of_the_input(triptych, file, out):
    write(file, {"text": "Hi"})
    triptych("batch", file, out)
    write(file, {"text": "Hi"}, {"text": "Ho"}, {"text": "Hm"})
    assert triptych("batch", file, out).code == 0
    assert [one["line"] for one in records(out)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--temperature", 0.5), "was made otherwise: pipeline.sampler"),
        (("--seed", 1), "was made otherwise: seed was 0 and is 1; give the same again"),
        (("--max-new-tokens", 3), "settings.max_new_tokens was null and is 3"),
        (("--set", "stop.strings=[a]"), "pipeline.stop.strings"),
    ],
)
def test_another_pipeline_is_refused(triptych, file, out, change, message):
    write(file, {"text": "Hi"})
    triptych("batch", file, out)
    before = out.read_bytes()
    done = triptych("batch", file, out, *change)
    assert done.code == 2
    assert message in done.err
    assert "name another output, or remove this one to begin anew" in done.err
    assert out.read_bytes() == before


def test_a_plugin_that_has_changed_is_refused(triptych, file, out, tmp_path):
    write(file, {"text": "1 2 3"})
    pipeline = fakes.pipeline_file(tmp_path)
    plugin = tmp_path / "mine.py"
    plugin.write_bytes(Path(fakes.__file__).read_bytes())
    assert triptych("batch", file, out, pipeline, "--plugin", plugin).code == 0
    with plugin.open("a", encoding="utf-8") as code:
        code.write("\n# Another.\n")
    done = triptych("batch", file, out, pipeline, "--plugin", plugin)
    assert (done.code, "was made otherwise: plugins." in done.err) == (2, True)


def test_an_input_that_has_changed_is_refused(triptych, file, out):
    write(file, {"text": "Hi"}, {"text": "Ho"})
    triptych("batch", file, out)
    write(file, {"text": "Hi"}, {"text": "Hu"})
    done = triptych("batch", file, out)
    assert done.code == 2
    assert f"{file} has changed since; lines may only be added at its end: put it back" in done.err


def test_a_file_of_somebody_elses_is_refused_and_stays(triptych, file, out):
    write(file, {"text": "Hi"})
    out.write_text("my thesis", encoding="utf-8")
    done = triptych("batch", file, out)
    assert done.code == 2
    assert "is not empty, and no out.jsonl.made-with.json says what it was made with" in done.err
    assert out.read_text(encoding="utf-8") == "my thesis"


def test_the_input_is_not_written_over(triptych, file):
    write(file, {"text": "Hi"})
    done = triptych("batch", file, file)
    assert (done.code, "is the input; name another output" in done.err) == (2, True)
    assert records(file) == [{"text": "Hi"}]


def test_more_at_once_may_be_asked_when_it_goes_on(triptych, file, out):
    write(file, {"text": "Hi"}, {"text": "Ho"})
    triptych("batch", file, out, "--set", "session.max_batch=1")
    whole, expected = out.read_bytes(), said(out)
    out.write_bytes(whole.splitlines(keepends=True)[0])
    assert triptych("batch", file, out, "--set", "session.max_batch=4").code == 0
    assert said(out) == expected


def test_kill_9_at_any_moment_loses_nothing_and_repeats_nothing(triptych, file, tmp_path):
    lines = [{"text": f"Say {n}", "id": f"q{n}"} for n in range(300)]
    write(file, *lines[:99], "", *lines[99:], "{", {"text": "The end"})
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    flags = ("--temperature", "2", "--max-new-tokens", "6")
    assert triptych("batch", file, whole, *flags).code == 3
    moments = random.Random(7)
    kills = 0
    for size in sorted(moments.randrange(whole.stat().st_size) for _ in range(4)):
        running = subprocess.Popen(
            command(file, killed, *flags), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < until:
            if killed.exists() and killed.stat().st_size > size:
                break
            time.sleep(0.001)
        time.sleep(moments.random() / 50)
        kills += running.poll() is None
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert kills >= 3
    done = triptych("batch", file, killed, *flags)
    assert done.code == 3
    assert said(killed) == said(whole)


# Pipes, devices, several at once.


def test_a_pipe_may_stand_at_either_end(out):
    lines = b'{"text": "Hi"}\n{"text": "Ho"}\n'
    piped = subprocess.run(command("-", "-"), input=lines, capture_output=True, check=True)
    found = [json.loads(line) for line in piped.stdout.splitlines()]
    assert [one["line"] for one in found] == [1, 2]
    subprocess.run(command("-", out), input=lines, capture_output=True, check=True)
    assert [one["text"] for one in records(out)] == [one["text"] for one in found]
    again = subprocess.run(command("-", out), input=lines, capture_output=True, check=False)
    assert again.returncode == 2
    assert b"what comes from a pipe cannot be read again to go on" in again.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
def test_a_full_disk_is_told(triptych, file):
    write(file, {"text": "Hi"})
    done = triptych("batch", file, "/dev/full")
    assert done.code == 1
    assert "/dev/full: cannot be written: No space left on device" in done.err


def test_an_output_belongs_to_one_process(triptych, file, out):
    from triptych.workbench.lines.output import OutputFile

    write(file, {"text": "Hi"})
    with OutputFile.open(out):
        done = triptych("batch", file, out)
    assert done.code == 2
    assert f"{out}: another process is writing it" in done.err


def test_ctrl_c_ends_after_the_lines_in_progress_and_the_same_command_goes_on(triptych, file, out):
    write(file, *({"text": f"Say {n}"} for n in range(2000)))
    running = subprocess.Popen(
        command(file, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (out.exists() and out.stat().st_size > 2000):
        assert running.poll() is None
        time.sleep(0.001)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "stopped; the same command goes on" in err
    before = len(records(out))
    assert 0 < before < 2000
    write(file, *({"text": f"Say {n}"} for n in range(2000)))
    assert [one["line"] for one in records(out)] == list(range(1, before + 1))


def test_an_empty_input_has_an_empty_output(triptych, file, out):
    write(file)
    done = triptych("batch", file, out)
    assert (done.code, out.read_bytes()) == (0, b"")
    assert "0 lines" in done.err


def test_what_is_missing_is_named(triptych, tmp_path, file, out):
    done = triptych("batch", tmp_path / "absent.jsonl", out)
    assert (done.code, "absent.jsonl: cannot be read: No such file" in done.err) == (2, True)
    write(file, {"text": "Hi"})
    done = triptych("batch", file, out, tmp_path / "absent")
    assert done.code == 2
    assert not out.exists()


def test_an_unknown_engine_is_refused(triptych, file, out):
    write(file, {"text": "Hi"})
    done = triptych("batch", file, out, "--engine", "rya")
    assert done.code == 2
    assert "there is no engine 'rya'; did you mean 'ray'? (engines: local, ray)" in done.err
    done = triptych("batch", file, out, "--workers", 3)
    assert "the engine 'local' has one" in done.err


# The documentation.


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_pages_command_gives_the_pages_answers(triptych, in_folder):
    picture = ROOT / "examples" / "images" / "circle.png"
    (in_folder / "scene.png").write_bytes(picture.read_bytes())
    asked, answered = blocks("json")
    (in_folder / "questions.jsonl").write_text(asked, encoding="utf-8")
    assert triptych(*shlex.split(blocks("sh")[0])[1:]).code == 3
    found = {one["line"]: one for one in records(in_folder / "answers.jsonl")}
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert found[2]["text"] == "red"
    for shown in map(json.loads, answered.splitlines()):
        one = found[shown["line"]]
        assert list(one) == list(shown)
        assert all(one[name] == shown[name] for name in ("id", "text", "seed") if name in shown)
        assert one.get("error") == shown.get("error")
    done = triptych(*shlex.split(blocks("sh")[0])[1:-1], 40)
    assert done.err == blocks("text")[0]


def test_the_python_of_the_page_runs(capsys):
    exec(compile(blocks("python")[0], "batch.md", "exec"), {})
    # Each when it is ready.
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "What is the capital of France? Paris",
        "What is the capital of Italy? Rome",
    ]
