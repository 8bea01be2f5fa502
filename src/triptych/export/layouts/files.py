"""The JSON files of a checkpoint, as layouts read and write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.export.checkpoint import Checkpoint, read_json


def optional_json(checkpoint: Checkpoint, name: str) -> Mapping[str, Any]:
    """A file of the checkpoint; empty where there is none. Raises CheckpointError."""
    path = checkpoint.optional_file(name)
    return read_json(path) if path else {}


def put_template(folder: Path) -> None:
    """Puts a chat template that is a file of its own into tokenizer_config.json as well.

    Where transformers.js looks for it, and where all tools once did.
    """
    path, template = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    if not path.is_file() or not template.is_file():
        return
    config = read_json(path)
    if not config.get("chat_template"):
        write_json(path, {**config, "chat_template": template.read_text(encoding="utf-8")})


def write_json(path: Path, value: Any) -> None:
    """Writes it as people read it."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
