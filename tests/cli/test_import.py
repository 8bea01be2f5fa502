"""`triptych import`: what a folder was taken for, in a file."""

import shutil

import pytest

from tests.layouts import rewired
from tests.layouts.conftest import SCENE


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders by name, made once."""
    root = tmp_path_factory.mktemp("imports")
    rewired.community(root / "theirs")
    rewired.genai(root / "lossy")
    return root


@pytest.fixture
def theirs(made, in_folder):
    """Those folders in the working directory."""
    shutil.copytree(made, in_folder, dirs_exist_ok=True)
    return in_folder


def test_it_writes_a_file_that_says_what_running_the_folder_says(triptych, theirs):
    question = ("--text", "Describe this image.", "--image", SCENE)
    before = triptych("run", "theirs", *question)
    done = triptych("import", "theirs")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("wrote theirs/pipeline.yaml\n")
    assert "vision_encoder" in done.out
    assert done.out.endswith("  try it:  triptych run theirs --text 'Hello'\n")
    assert triptych("run", "theirs", *question).out == before.out
    text = (theirs / "theirs" / "pipeline.yaml").read_text(encoding="utf-8")
    assert "made by Optimum (an onnx-community folder)" in text


def test_a_file_that_is_there_is_not_written_over(triptych, theirs):
    (theirs / "theirs" / "pipeline.yaml").write_text("mine", encoding="utf-8")
    done = triptych("import", "theirs")
    assert done.code == 2
    assert "theirs/pipeline.yaml is there already; name another file with --out" in done.err
    assert (theirs / "theirs" / "pipeline.yaml").read_text(encoding="utf-8") == "mine"


def test_a_file_above_the_folder_names_it_by_its_relative_path(triptych, theirs):
    done = triptych("import", "theirs", "--out", "mine.yaml")
    assert done.out.endswith("  try it:  triptych run mine.yaml --text 'Hello'\n")
    assert "\nroot: theirs\n" in (theirs / "mine.yaml").read_text(encoding="utf-8")
    assert triptych("run", "mine.yaml", "--text", "What is the capital of France?").code == 0


def test_a_file_elsewhere_runs_with_allow_outside(triptych, theirs):
    (theirs / "other").mkdir()
    done = triptych("import", "theirs", "--out", "other/mine.yaml")
    assert done.out.endswith("--allow-outside\n")
    assert triptych("check", "other/mine.yaml").code == 2
    assert triptych("check", "other/mine.yaml", "--allow-outside").code == 0


def test_suffixes_are_chosen_part_by_part_or_for_all(triptych, theirs):
    for file in (theirs / "theirs" / "onnx").iterdir():
        shutil.copy(file, file.with_name(f"{file.stem}_q4.onnx"))
    triptych("import", "theirs", "--out", "one.yaml", "--suffix", "decoder=q4")
    text = (theirs / "one.yaml").read_text(encoding="utf-8")
    assert "decoder_model_merged_q4.onnx" in text
    assert "- embeddings: onnx/embed_tokens.onnx" in text
    triptych("import", "theirs", "--out", "all.yaml", "--suffix", "q4")
    assert (theirs / "all.yaml").read_text(encoding="utf-8").count("_q4.onnx\n") == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["decoder=fp16"], "has no fp16 of the decoder"),
        (["=q4"], "names no part, as in decoder=q4"),
        (["decoder=q4", "decoder=q4"], "given twice for decoder"),
    ],
)
def test_a_wrong_suffix_writes_nothing(triptych, theirs, given, said):
    done = triptych("import", "theirs", *(flag for one in given for flag in ("--suffix", one)))
    assert done.code == 2
    assert said in done.err
    assert not (theirs / "theirs" / "pipeline.yaml").exists()


@pytest.mark.parametrize("verb", ["import", "check"])
def test_a_loss_is_warned_of(triptych, theirs, verb):
    done = triptych(verb, "lossy")
    assert done.code == 0
    assert "warning:" in done.err
    assert "leaves DeepStack out" in done.err


def test_a_folder_of_something_else_is_refused(triptych, in_folder):
    (in_folder / "empty").mkdir()
    done = triptych("import", "empty")
    assert done.code == 2
    assert "empty: holds no graphs (*.onnx)" in done.err
