"""What running a pipeline imports: the model's maths comes from ONNX Runtime and numpy alone."""

import json
import subprocess
import sys

SCRIPT = """
import json, sys, triptych
pipe = triptych.load(sys.argv[1])
reply = pipe.generate("What is this?", images=[sys.argv[2]], max_new_tokens=3)
packages = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"tokens": len(reply.tokens), "packages": packages}))
"""


def test_a_question_about_a_picture_needs_neither_torch_nor_transformers(tiny_pipeline, picture):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny_pipeline), str(picture)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["tokens"] == 3
    assert "onnxruntime" in found["packages"]
    heavy = {"torch", "torchvision", "transformers", "onnx", "onnx_ir", "onnxscript", "ml_dtypes"}
    assert not heavy & set(found["packages"])


NOT_FOR_TEXT = {
    "PIL",  # pictures
    "rich",  # help
    "hypothesis",
    "importlib.metadata",  # what is installed
    "email",
    "asyncio",
    "sqlite3",
    "triptych.bench",
    "triptych.cli.commands",
    "triptych.core.requests.chat",
    "triptych.core.layouts.recognise",  # other tools' folders
    "triptych.recording",
    "triptych.testing",
    "triptych.workbench",
}


def test_the_command_imports_nothing_that_a_question_in_words_does_not_need(tiny_pipeline):
    command = ["-m", "triptych", "run", str(tiny_pipeline), "--text", "Hi", "--max-new-tokens", "2"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    modules = {line.rpartition("|")[2].strip() for line in lines}
    assert {"typer", "onnxruntime", "tokenizers", "triptych.core.execution.scheduler"} <= modules
    assert not NOT_FOR_TEXT & modules
