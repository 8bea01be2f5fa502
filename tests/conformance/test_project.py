"""The project's own files: the README's commands and examples, the wheel, the constraints."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from triptych.core.components.catalog import Catalog
from triptych.core.config.locate import builtin
from triptych.testing import check_sampler

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"^```{language}(?: [^\n]*)?\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_readme_sets_up_with_exactly_two_commands():
    use, test = (block.strip() for block in blocks(README, "sh"))
    assert "\n" not in use + test
    assert use.endswith(
        'triptych run --image examples/images/circle.png --text "What color is the circle?"'
    )
    assert test.endswith(".venv/bin/python -m pytest -n 2 --dist loadfile")


def test_ci_runs_the_readmes_second_command():
    _, test = (block.strip() for block in blocks(README, "sh"))
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (extraction,) = re.findall(r"^tests=\$\((.*)\)$", script, re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", extraction], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == test
    assert 'bash -euo pipefail -c "$tests"' in script


def test_the_picture_of_the_readme_is_in_the_repository():
    assert (ROOT / "examples" / "images" / "circle.png").is_file()


def test_the_constraints_pin_exactly_and_torch_is_among_them():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all([part.operator for part in pin.specifier] == ["=="] for pin in pins)
    assert "torch==2.13.0" in {str(pin) for pin in pins}


@pytest.mark.parametrize("text", [README, TUTORIAL], ids=["README", "tutorial"])
def test_the_sampler_of_the_documentation_keeps_a_samplers_promises(text, tmp_path):
    source = next(block for block in blocks(text, "python") if "hookimpl" in block)
    file = tmp_path / "my.py"
    file.write_text(source, encoding="utf-8")
    min_p = Catalog([file]).find("samplers", "local/min_p")
    assert min_p.role == "warp"
    check_sampler(min_p.load(), p=0.1)


@pytest.mark.parametrize("text", [README, TUTORIAL], ids=["README", "tutorial"])
def test_the_python_of_the_documentation_compiles(text):
    for block in blocks(text, "python"):
        compile(block, "documentation", "exec")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_has_the_model_the_types_and_the_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = builtin("sketch").relative_to(ROOT / "src").as_posix()
    files = ["pipeline.yaml", "vision_encoder.onnx", "embeddings.onnx", "decoder.onnx"]
    assert {"triptych/py.typed", *(f"{folder}/{file}" for file in files)} <= names
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_the_wheel_has_no_checkpoint_and_stays_small(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith((".safetensors", ".pt"))]
    assert not [name for name in names if "test" in name and "triptych/testing" not in name]
    graphs = sum(
        info.file_size for info in zipfile.ZipFile(wheel).infolist() if ".onnx" in info.filename
    )
    assert graphs <= 12 * 2**20
