"""What using the processor costs: no torch, no transformers, and no heavy manifest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

USE = """
import sys
from triptych.core.request import Request
from triptych.plugins.processors.hf import HFProcessor
from PIL import Image

processor = HFProcessor(HFProcessor.Settings(folder=sys.argv[1]))
processor.prompt(Request(text="What is this?", system="Be brief."))
prompt = processor.prompt(Request(text="And this?", images=[Image.new("RGB", (90, 60))]))
assert prompt.media[0].ports["pixel_values"].size
assert processor.decode(processor.encode("circle")) == "circle"
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def modules(code: str, *arguments: str) -> set[str]:
    command = [sys.executable, "-c", code, *arguments]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_text_and_images_need_neither_torch_nor_transformers(trained: Path) -> None:
    loaded = modules(USE, str(trained))
    assert "tokenizers" in loaded
    assert not loaded & {"torch", "torchvision", "transformers", "onnxruntime"}


def test_a_manifest_imports_nothing_heavy() -> None:
    loaded = modules(
        "import sys, triptych.plugins.processors.manifest as manifest\n"
        "assert [c.name for c in manifest.processors()] == ['hf', 'qwen_vl']\n"
        "print(*sys.modules)"
    )
    assert not loaded & {"numpy", "pydantic", "tokenizers", "PIL", "jinja2", "transformers"}
