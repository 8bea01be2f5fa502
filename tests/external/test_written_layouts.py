"""Folders that `triptych export --layout` writes run in the tools that they are written for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import triptych
from tests.export.qwen2_vl.checkpoints import VL_SHAPES, vl_checkpoint
from tests.export.text_checkpoints import TEXT_SHAPES, text_checkpoint
from triptych import Request
from triptych.core.prompt import Prompt
from triptych.export import export_checkpoint, graph_files

pytestmark = pytest.mark.external

HERE = Path(__file__).parent
SCENE = HERE.parents[1] / "examples" / "images" / "scene.png"
NEW = 40
PROMPTS = ([5, 17, 33, 8, 60, 2, 41], [7], list(range(40, 100)))
CASES = [
    ("qwen3, tied", "fp32"),
    ("qwen3, untied, yarn", "int4"),
    ("qwen2, tied", "fp16"),
    ("llama, untied", "int8"),
]
DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "int8", "int4": "q4"}
"""What transformers.js calls a precision."""


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def case(request, tmp_path_factory):
    """A checkpoint, a precision, and our own greedy tokens for each prompt."""
    name, precision = request.param
    root = tmp_path_factory.mktemp("written")
    checkpoint = text_checkpoint(root / "checkpoint", TEXT_SHAPES[name])
    own = export_checkpoint(checkpoint, root / "own", precision=precision, kv_cache="fp32")
    pipe = triptych.load(own)
    options = {"no_sample": True, "max_new_tokens": NEW}
    said = [list(pipe.begin(Prompt(np.array(ids)), options).reply.tokens) for ids in PROMPTS]
    assert len({token for tokens in said for token in tokens}) > 4, "the tokens vary"
    return checkpoint, precision, said


def run(*command, given=None):
    """A program's answer; its errors are the test's."""
    done = subprocess.run(
        [str(word) for word in command],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def node_program():
    program = shutil.which("node")
    assert program, "these tests run transformers.js, which needs Node 20 (node) on the PATH"
    return program


def node(folder, dtype, given):
    return run(node_program(), HERE / "transformers_greedy.mjs", folder, dtype, NEW, given=given)


def test_onnx_runtime_genai_says_the_same(case, tmp_path):
    checkpoint, precision, expected = case
    folder = export_checkpoint(checkpoint, tmp_path / "out", precision=precision, layout="genai")
    program = HERE / "genai_greedy.py"
    assert [run(sys.executable, program, folder, NEW, *ids) for ids in PROMPTS] == expected


def test_transformers_js_says_the_same(case, tmp_path):
    checkpoint, precision, expected = case
    folder = export_checkpoint(
        checkpoint, tmp_path / "out", precision=precision, layout="onnx-community"
    )
    assert [node(folder, DTYPES[precision], {"ids": ids}) for ids in PROMPTS] == expected


def test_both_turn_a_message_into_the_same_ids(tmp_path):
    checkpoint = text_checkpoint(tmp_path / "checkpoint", TEXT_SHAPES["qwen3, tied"])
    genai = export_checkpoint(checkpoint, tmp_path / "genai", layout="genai")
    script = export_checkpoint(checkpoint, tmp_path / "js", layout="onnx-community")
    ids = triptych.load(genai).run_until("input_ids", Request("Hello there")).ravel().tolist()
    assert run(sys.executable, HERE / "genai_prompt.py", genai, "Hello there") == ids
    assert run(node_program(), HERE / "transformers_prompt.mjs", script, "Hello there") == ids


def test_weights_beside_the_graph_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", 0)
    checkpoint = text_checkpoint(tmp_path / "checkpoint", TEXT_SHAPES["qwen3, tied"])
    one = export_checkpoint(checkpoint, tmp_path / "genai", layout="genai")
    several = export_checkpoint(
        checkpoint, tmp_path / "js", layout="onnx-community", max_file_size=200_000
    )
    assert (one / "model.onnx.data").exists()
    assert (several / "onnx" / "model.onnx_data_1").exists()
    ids = PROMPTS[0]
    said = run(sys.executable, HERE / "genai_greedy.py", one, NEW, *ids)
    assert node(several, "fp32", {"ids": ids}) == said
    assert len(said) == NEW


def seen(pipe):
    """What a picture and a question about it become."""
    request = Request("What is this?", images=[SCENE])
    pixels = pipe.run_until("pixel_values", request)
    given = {
        "ids": pipe.run_until("input_ids", request).ravel().tolist(),
        "pixels": pixels.ravel().tolist(),
        "width": pixels.shape[1],
        "grid": pipe.run_until("image_grid_thw", request)[0].tolist(),
    }
    return given, list(pipe.generate(request, no_sample=True, max_new_tokens=NEW).tokens)


@pytest.mark.parametrize("name", ["Qwen2-VL, tied", "Qwen2.5-VL, tied"])
def test_transformers_js_says_the_same_of_a_picture(tmp_path, name):
    checkpoint = vl_checkpoint(tmp_path / "checkpoint", VL_SHAPES[name])
    given, expected = seen(triptych.load(export_checkpoint(checkpoint, tmp_path / "own")))
    folder = export_checkpoint(checkpoint, tmp_path / "out", layout="onnx-community")
    assert node(folder, "fp32", given) == expected


def test_without_deepstack_transformers_js_says_what_triptych_says_without_it(
    tiny_checkpoint, tmp_path
):
    options = {"layout": "onnx-community", "drop_deepstack": True}
    folder = export_checkpoint(tiny_checkpoint, tmp_path / "out", **options)
    with pytest.warns(UserWarning, match="leaves DeepStack out"):
        pipe = triptych.load(folder)
    given, expected = seen(pipe)
    assert node(folder, "fp32", given) == expected
