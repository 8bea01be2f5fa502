"""An export is complete under its name or not there, and never costs a person their work."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.export.checkpoints import random_checkpoint
from triptych.export import export_checkpoint, run
from triptych.export.output import OutputError, clear_abandoned, output_folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("made") / "checkpoint")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_export_takes_its_name_only_when_it_is_whole(checkpoint, tmp_path, monkeypatch):
    def fail(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "pipeline_yaml", fail)
    with pytest.raises(KeyboardInterrupt):
        export_checkpoint(checkpoint, tmp_path / "out")
    assert names(tmp_path) == []


def test_a_failed_export_leaves_the_earlier_one(checkpoint, tmp_path, monkeypatch):
    out = export_checkpoint(checkpoint, tmp_path / "out")
    before = names(out)

    def fail(**_):
        raise OSError("No space left on device")

    monkeypatch.setattr(run, "pipeline_yaml", fail)
    with pytest.raises(OSError, match="No space left"):
        export_checkpoint(checkpoint, out)
    assert names(out) == before
    assert names(tmp_path) == ["out"]


def test_an_earlier_export_is_replaced(checkpoint, tmp_path):
    out = export_checkpoint(checkpoint, tmp_path / "out", precision="fp32")
    size = (out / "decoder.onnx").stat().st_size
    export_checkpoint(checkpoint, out, precision="fp16")
    assert (out / "decoder.onnx").stat().st_size < 0.7 * size
    assert names(tmp_path) == ["out"]


def test_an_export_that_cannot_take_its_name_brings_the_earlier_one_back(
    checkpoint, tmp_path, monkeypatch
):
    out = export_checkpoint(checkpoint, tmp_path / "out")
    before = names(out)
    rename = Path.rename

    def refuse_new(path, target):
        if path.name == "new":
            raise PermissionError("in use")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(PermissionError):
        export_checkpoint(checkpoint, out, precision="fp16")
    assert names(out) == before
    assert names(tmp_path) == ["out"]


# Exports, and waits in the middle of it to be stopped.
STOPPED = """
import sys, time
from pathlib import Path
from triptych.export import export_checkpoint

def wait(progress):
    if progress.weights == 3:
        print("writing", flush=True)
        time.sleep(60)

export_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), progress=wait)
"""


def stopped_export(checkpoint, out, signal_number):
    """Starts an export, stops it with a signal while it writes, and waits for its end."""
    command = [sys.executable, "-c", STOPPED, str(checkpoint), str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal_number)
        process.wait(timeout=120)


def test_an_interrupted_export_leaves_nothing(checkpoint, tmp_path):
    stopped_export(checkpoint, tmp_path / "out", signal.SIGINT)
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no such signal")
def test_a_killed_export_leaves_no_half_model_and_can_be_run_again(checkpoint, tmp_path):
    stopped_export(checkpoint, tmp_path / "out", signal.SIGKILL)
    [left] = names(tmp_path)
    assert left.startswith(".out.")
    assert "pipeline.yaml" in names(export_checkpoint(checkpoint, tmp_path / "out"))
    assert names(tmp_path) == ["out"]


def test_an_export_leaves_alone_what_another_one_is_writing(checkpoint, tmp_path):
    with output_folder(tmp_path / "out", {}) as folder:
        (folder / "decoder.onnx").write_text("half")
        export_checkpoint(checkpoint, tmp_path / "out")
        assert (folder / "decoder.onnx").read_text() == "half"


def test_a_hidden_folder_of_somebody_else_is_left_alone(checkpoint, tmp_path):
    (tmp_path / ".out.notes").mkdir()
    (tmp_path / ".out.notes" / "mine.txt").write_text("...")
    export_checkpoint(checkpoint, tmp_path / "out")
    assert names(tmp_path) == [".out.notes", "out"]


def test_an_earlier_export_that_a_killed_one_had_put_aside_comes_back(checkpoint, tmp_path):
    out = export_checkpoint(checkpoint, tmp_path / "out")
    staging = tmp_path / ".out.killed"
    staging.mkdir()
    (staging / "owner.lock").touch()
    out.rename(staging / "old")
    clear_abandoned(out)
    assert "pipeline.yaml" in names(out)
    assert names(tmp_path) == ["out"]


def test_a_full_disk_is_found_before_anything_is_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(OutputError, match=r"the graphs take 0\.0 GB, and only 0\.0 GB"):
        export_checkpoint(checkpoint, tmp_path / "out")
    assert names(tmp_path) == []


def test_an_empty_folder_is_filled(checkpoint, tmp_path):
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    assert "pipeline.yaml" in names(export_checkpoint(checkpoint, out))


def test_a_folder_of_other_things_is_left_alone(checkpoint, tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(OutputError, match="other things than an export"):
        export_checkpoint(checkpoint, tmp_path)
    assert names(tmp_path) == ["thesis.tex"]


def test_an_export_with_a_file_of_somebody_else_is_left_alone(checkpoint, tmp_path):
    out = export_checkpoint(checkpoint, tmp_path / "out")
    (out / "notes.md").write_text("...")
    with pytest.raises(OutputError, match=r"notes\.md did not come from the export"):
        export_checkpoint(checkpoint, out)


def test_an_edited_pipeline_is_left_alone(checkpoint, tmp_path):
    out = export_checkpoint(checkpoint, tmp_path / "out")
    with (out / "pipeline.yaml").open("a") as file:
        file.write("# mine\n")
    with pytest.raises(OutputError, match="was edited since the export"):
        export_checkpoint(checkpoint, out)


def test_a_file_is_not_replaced_by_a_folder(checkpoint, tmp_path):
    (tmp_path / "out").write_text("...")
    with pytest.raises(OutputError, match="not a folder"):
        export_checkpoint(checkpoint, tmp_path / "out")


def test_a_link_is_not_followed(checkpoint, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="not a folder"):
        export_checkpoint(checkpoint, tmp_path / "out")


def test_nothing_is_written_into_the_checkpoint_itself(checkpoint):
    before = names(checkpoint)
    with pytest.raises(OutputError, match="other things than an export"):
        export_checkpoint(checkpoint, checkpoint)
    assert names(checkpoint) == before
