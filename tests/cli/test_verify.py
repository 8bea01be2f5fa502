"""`triptych verify`."""

import json
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


def test_an_export_agrees_with_its_checkpoint(triptych, tiny_checkpoint, tiny_pipeline):
    done = triptych("verify", tiny_pipeline, "--against", tiny_checkpoint)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[1].split() == [
        "stage", "port", "largest", "error", "relative", "cosine", "tolerance", "verdict"
    ]  # fmt: skip
    rows = [line.split() for line in lines[3:] if line.endswith("ok      ")]
    stages = [row[0] for row in rows]
    assert list(dict.fromkeys(stages)) == [
        "processor", "vision_encoder", "mrope", "embeddings", "merge", "decoder", "pipeline"
    ]  # fmt: skip
    assert lines[-1] == f"{tiny_pipeline} (fp32) computes what {tiny_checkpoint} computes"


@pytest.fixture
def other_checkpoint(tiny_checkpoint, tmp_path):
    """The checkpoint with another embedding table."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.language_model.embed_tokens.weight"] *= 1.5
    save_file(weights, folder / "model.safetensors")
    return folder


def test_another_checkpoint_fails_at_the_stage_that_differs(
    triptych, other_checkpoint, tiny_pipeline
):
    done = triptych("verify", tiny_pipeline, "--against", other_checkpoint)
    assert (done.code, done.err) == (1, "")
    assert "FAILED on " in done.out
    assert done.out.splitlines()[-1] == "FIRST STAGE THAT DIFFERS: embeddings, weights"


def test_json_is_one_object_with_the_verdicts(triptych, monkeypatch):
    import triptych.export.verification.result as module
    from triptych.export.verification.comparison import Check

    checks = (
        Check("vision_encoder", "image_features", "one image", 2e-6, 1e-6, 1e-4),
        Check("decoder", "logits", "text alone", float("inf"), float("inf"), 1e-4),
    )
    found = module.Verification(Path("out"), Path("checkpoint"), "qwen3_vl", "fp32", checks)
    monkeypatch.setattr("triptych.export.verify_export", lambda *_, **__: found, raising=False)
    done = triptych("verify", "out", "--against", "checkpoint", "--json")
    assert (done.code, done.err) == (1, "")
    said = json.loads(done.out)
    assert (said["passed"], said["first_failure"]) == (False, "decoder")
    assert [check["passed"] for check in said["checks"]] == [True, False]


def test_a_folder_that_is_no_export(triptych, tiny_checkpoint, in_folder):
    done = triptych("verify", in_folder, "--against", tiny_checkpoint)
    assert (done.code, done.out) == (2, "")
    assert "this is not a folder that `triptych export` wrote" in done.err


def test_another_pipeline_needs_no_torch(triptych, tiny_pipeline, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = triptych("verify", tiny_pipeline, "--against", tiny_pipeline, "--steps", 2)
    assert (done.code, done.err) == (0, "")
    assert "the same winner in 100.0 %" in done.out
    verdict = f"{tiny_pipeline} (fp32) computes what {tiny_pipeline} computes"
    assert done.out.splitlines()[-1] == verdict


def test_a_page_is_written_beside_what_is_printed(triptych, tiny_pipeline, in_folder):
    done = triptych(
        "verify", tiny_pipeline, "--against", tiny_pipeline, "--steps", 1, "--html", "report.html"
    )
    assert done.code == 0
    assert "greedy tokens: all are the same" in done.out
    assert "All stages agree" in (in_folder / "report.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_told(triptych, tiny_pipeline, in_folder):
    done = triptych(
        "verify",
        tiny_pipeline,
        "--against",
        tiny_pipeline,
        "--steps",
        1,
        "--html",
        "no/report.html",
    )
    assert done.code == 2
    assert "no/report.html: cannot be written" in done.err
