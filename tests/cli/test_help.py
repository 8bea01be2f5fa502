"""Help is cheap, complete, and shows commands that work; so do completion and the version."""

import json
import re
import shlex
import subprocess
import sys

import pytest

import triptych
from triptych.cli.verbs import VERBS

HEAVY = {"numpy", "pydantic", "onnxruntime", "transformers", "torch", "PIL", "ruamel", "onnx"}

PIPELINE_FLAGS = "--set --insert --replace --remove --plugin --allow-outside"
SAMPLING_FLAGS = "--max-new-tokens --temperature --top-k --top-p --no-sample --seed --stop"
FLAGS = {
    "run": f"--text --image --video --system {SAMPLING_FLAGS} {PIPELINE_FLAGS} --no-stream --json "
    "--logprobs --tap --record --replay --replay-ports --from --verbose --debug",
    "chat": f"--system {SAMPLING_FLAGS} {PIPELINE_FLAGS} --verbose --debug",
    "ablate": "--out --dry-run --limit --engine --workers --plugin --allow-outside --debug",
    "batch": f"--engine --workers {SAMPLING_FLAGS} {PIPELINE_FLAGS} --logprobs --debug",
    "export": "--precision --recipe --family --max-file-size --kv-cache --prompts "
    "--calibration --layout --drop-deepstack --expose --split-decoder --plugin --debug",
    "import": "--out --suffix --debug",
    "verify": "--against --html --steps --plugin --json --debug",
    "check": f"{PIPELINE_FLAGS} --debug",
    "show": f"--mermaid --trace --trace-json --text --image --max-new-tokens {PIPELINE_FLAGS} "
    "--debug",
    "diff": "--tolerance --port --json --debug",
    "plugins": "--plugin --json --debug",
    "schema": "--sweep --plugin --debug",
    "bench": "--only --picture --prefill --context --sequences --new-tokens --repeat --restarts "
    f"--threads --against --python --json --markdown --plot --debug {PIPELINE_FLAGS}",
    "doctor": "--json --debug",
    "new-plugin": "--kind --owner --name --file --debug",
}
EXAMPLES = [
    line.strip().removeprefix("[bold cyan]").removesuffix("[/]").replace("\\[", "[")
    for verb in VERBS.values()
    for line in verb.load()[1].splitlines()
    if "[bold cyan]" in line
]


def test_help_imports_nothing_heavy():
    script = (
        "import json, sys\n"
        "from triptych.cli.main import main\n"
        "codes = [main([*verb.split(), '--help']) for verb in sys.argv[1:]]\n"
        "print(json.dumps([codes, sorted({name.partition('.')[0] for name in sys.modules})]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "", *FLAGS], capture_output=True, text=True, check=True
    )
    codes, packages = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0] * (1 + len(FLAGS))
    assert not HEAVY & set(packages)


def test_a_verb_is_imported_when_it_is_asked_for():
    script = (
        "import sys; from triptych.cli.main import main; main(['run', '--help']); "
        "print(sorted(name for name in sys.modules if name.startswith('triptych.cli.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    imported = done.stdout.splitlines()[-1]
    assert "'triptych.cli.run'" in imported
    assert "'triptych.cli.export'" not in imported


@pytest.mark.parametrize("verb", FLAGS)
def test_help_lists_the_flags_of_the_verb(triptych, verb):
    done = triptych(verb, "--help")
    assert done.code == 0
    assert done.err == ""
    missing = [flag for flag in FLAGS[verb].split() if f"{flag} " not in done.out]
    assert not missing


def test_the_help_lists_the_verbs_and_no_other(triptych):
    done = triptych("--help")
    listed = re.findall(r"^│ ([a-z][a-z-]*)  +[A-Z]", done.out, re.MULTILINE)
    assert sorted(listed) == sorted(FLAGS)


@pytest.mark.parametrize("verb", FLAGS)
def test_help_has_examples(triptych, verb):
    assert re.search(
        rf"^ *(cat \S+ \| )?triptych {verb}\b", triptych(verb, "--help").out, re.MULTILINE
    )


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_flags_of_an_example_are_the_verbs_own(command):
    words = shlex.split(command.rpartition("| ")[2].partition(" > ")[0].partition(" < ")[0])
    assert words[0] == "triptych"
    assert {word for word in words if word.startswith("--")} <= set(FLAGS[words[1]].split())


def test_without_a_verb_the_help_is_shown_and_the_code_is_2(triptych):
    done = triptych()
    assert done.code == 2
    assert "Usage: triptych [OPTIONS] COMMAND" in done.out
    assert done.err == ""


def test_the_version(triptych):
    import triptych as package

    assert triptych("--version").out == f"triptych {package.__version__}\n"


def test_python_dash_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "triptych", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"triptych {triptych.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'?\n  see: triptych --help"),
        (["run"], "Missing option '--text'.\n  see: triptych run --help"),
        (
            ["run", "--text", "a", "--sead", "1"],
            "No such option: --sead (Possible options: --seed, --set)\n  see: triptych run --help",
        ),
        (
            ["run", "--text", "a", "--max-new-tokens", "0"],
            "Invalid value for '--max-new-tokens': Input should be greater than or equal to 1\n"
            "  see: triptych run --help",
        ),
    ],
)
def test_wrong_arguments_are_one_message_and_the_code_2(triptych, arguments, message):
    done = triptych(*arguments)
    assert (done.code, done.out, done.err) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("triptych che", ["check"]),
        ("triptych run --no-s", ["--no-sample", "--no-stream"]),
        ("triptych run ske", ["sketch"]),
        ("triptych export a b --precision fp", ["fp32", "fp16"]),
    ],
)
def test_the_shell_completes_verbs_flags_and_values(triptych, monkeypatch, words, offered):
    monkeypatch.setenv("_TRIPTYCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert triptych().out.split() == offered


def test_pipelines_complete_to_folders_and_yaml_files(in_folder):
    from triptych.cli.arguments import complete_pipeline

    (in_folder / "models").mkdir()
    (in_folder / "models" / "mine.yaml").touch()
    (in_folder / "models" / "graph.onnx").touch()
    (in_folder / "notes.txt").touch()
    assert list(complete_pipeline("")) == ["sketch", "models/"]
    assert list(complete_pipeline("models/")) == ["models/mine.yaml"]
    assert list(complete_pipeline("nowhere/")) == []


def test_show_completion_prints_a_script(triptych, monkeypatch):
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    done = triptych("--show-completion")
    assert done.code == 0
    assert "_TRIPTYCH_COMPLETE=complete_bash" in done.out
