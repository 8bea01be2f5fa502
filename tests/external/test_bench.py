"""A benchmark beside ONNX Runtime GenAI, both on the folder that its model builder wrote."""

import json

import pytest

from tests.external.test_genai_builder import checkpoint, run

pytestmark = pytest.mark.external


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("genai")
    source = checkpoint(root / "checkpoint", "qwen3")
    builder = ("-m", "onnxruntime_genai.models.builder")
    run(*builder, "-m", source, "-o", root / "built", "-p", "fp32", "-e", "cpu", "-c", root / "c")
    return root / "built"


def test_both_are_measured_pair_by_pair(folder, capsys):
    from triptych.cli.main import main

    sizes = ("--prefill", "24", "--context", "16", "--sequences", "2", "--new-tokens", "4")
    peer = ("--against", f"onnxruntime-genai={folder}")
    assert main(["bench", str(folder), *sizes, *peer, "--repeat", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["runtimes"].values())[1].startswith("onnxruntime-genai 0.")
    ratios = {result["measure"]: result["ratios"] for result in found["results"]}
    for measure in ("load", "prefill 24", "decode at 16", "2 sequences at 32", "peak memory"):
        (ratio,) = ratios[measure].values()
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
