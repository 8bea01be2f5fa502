"""Models of true proportions with random weights, to measure speed and memory on.

    python benchmarks/models.py FOLDER [--size 0.6b]

Writes a Qwen3-VL checkpoint with a tokenizer, a chat template and an image processor, so that
whatever reads Hugging Face folders runs it. What it says means nothing; what it costs does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.export.checkpoints import TinyShape
from tests.export.published import PUBLISHED, published_checkpoint

SKETCH = Path(__file__).resolve().parents[1] / "checkpoints" / "sketch"
SPECIAL = {
    "<|im_end|>": "eos",
    "<|vision_start|>": "vision_start",
    "<|vision_end|>": "vision_end",
    "<|image_pad|>": "image",
    "<|video_pad|>": "video",
}
"""Those of sketch's special tokens that a checkpoint's config names, and what it calls them."""
PIXELS = {"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096}
"""The bounds of Qwen/Qwen3-VL-2B-Instruct's pictures."""


def random_model(folder: Path, size: str) -> Path:
    """A checkpoint of a published size and the files of its processor; returns `folder`."""
    shape = PUBLISHED[size]
    published_checkpoint(folder, shape)
    _write(folder / "tokenizer.json", tokenizer(shape))
    _write(folder / "generation_config.json", {"eos_token_id": shape.token("eos")})
    processor = json.loads((SKETCH / "preprocessor_config.json").read_text())
    _write(folder / "preprocessor_config.json", processor | {"size": PIXELS})
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(SKETCH / name, folder)
    return folder


def tokenizer(shape: TinyShape) -> dict[str, Any]:
    """Sketch's tokenizer, enlarged to the model's vocabulary by tokens that no text contains."""
    found: dict[str, Any] = json.loads((SKETCH / "tokenizer.json").read_text())
    named = {shape.token(name): text for text, name in SPECIAL.items()}
    words = iter([word for word in found["model"]["vocab"] if word not in SPECIAL])
    ids = {
        named.get(token) or next(words, f"<unused {token}>"): token
        for token in range(shape.vocabulary)
    }
    found["model"]["vocab"] = ids
    for added in found["added_tokens"]:
        added["id"] = ids[added["content"]]
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=PUBLISHED, default="0.6b")
    options = parser.parse_args()
    random_model(options.folder, options.size)


if __name__ == "__main__":
    main()
