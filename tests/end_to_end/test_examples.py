"""The examples do what their first lines say."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from triptych.cli.main import main

ROOT = Path(__file__).parents[2]
PIPELINES = sorted((ROOT / "examples" / "pipelines").glob("*.yaml"))
PLUGINS = sorted((ROOT / "examples" / "plugins").glob("*.py"))
ANSWERS = {
    "text_greedy": "Paris",
    "describe_sampled": None,
    "colors_cool": None,
    "pattern_warm": None,
    "pruned": None,
    "grayscale": None,
}
"""What the command in each file prints, where it is a matter of fact and not of chance."""


def command_in(path):
    """The `triptych` command in the comment or docstring at the head of a file."""
    text = re.sub(r"(?m)^#", "", path.read_text(encoding="utf-8")).replace("\\\\", "\\")
    [command] = re.findall(r"(?m)^ +(triptych run (?:.*\\\n)*.*)$", text)
    return shlex.split(command.replace("\\\n", " "))[1:]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", [*PIPELINES, *PLUGINS], ids=lambda path: path.stem)
def test_the_command_at_the_head_of_the_file_answers(path, capsys):
    assert main(command_in(path)) == 0
    said = capsys.readouterr().out
    assert said.strip()
    if ANSWERS.get(path.stem):
        assert ANSWERS[path.stem] in said


@pytest.mark.parametrize("name", ["scenarios", "custom_pipelines"])
def test_the_scripts_run(name, capsys):
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    said = capsys.readouterr().out
    if name == "scenarios":
        assert said.count(" tokens\n") == 4
        assert "Paris" in said
    else:
        plain, pruned, gray = (line.split(":")[1].strip() for line in said.splitlines())
        assert plain == "red"
        assert pruned
        assert gray != "red"


def test_the_hand_made_graph_is_the_one_that_its_script_writes(tmp_path):
    script = ROOT / "examples" / "pipelines" / "make_grayscale.py"
    copy = tmp_path / script.name
    copy.write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, str(copy)], check=True)
    made = (tmp_path / "grayscale.onnx").read_bytes()
    assert made == script.with_name("grayscale.onnx").read_bytes()


def test_the_hand_made_graph_takes_the_colour_out_as_pillow_does():
    import numpy as np
    from PIL import Image

    from triptych.core.graphs.graph import Graph
    from triptych.core.stages import Runtime

    graph = Graph(ROOT / "examples" / "pipelines" / "grayscale.onnx")
    graph.load(Runtime())
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    gray = np.asarray(Image.fromarray(pixels).convert("L"))
    patch = np.repeat(pixels.transpose(2, 0, 1)[:, None], 2, axis=1).reshape(1, -1)
    made = graph.run({"patches_in": patch.astype(np.float32)}, ["patches_out"])["patches_out"]
    for plane in made.reshape(6, 16, 16):
        assert np.abs(plane - gray).max() <= 1  # Pillow rounds down
