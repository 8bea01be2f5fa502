"""What a quantized cache is measured on, and weights where a recipe's method is gptq."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.core.request import Request

QUESTION = "Describe this image."
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TEXTS = (".txt", ".md")

SCENES = 8
"""Drawn scenes of each kind, where no folder is given."""
SEED = 1
"""Of those scenes; the ones that models are tested on have another."""


def calibration_requests(folder: Path | None) -> Iterator[Request]:
    """Each picture of a folder with a question, each text by itself; drawn scenes without one.

    Raises InputError for a folder that has neither. Nothing is read before the first is taken.
    """
    if folder is None:
        yield from _scenes()
        return
    from triptych.core.request import Request

    if not folder.is_dir():
        raise InputError(f"--calibration: {folder} is no folder; give one with pictures or texts")
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    texts = [path for path in files if path.suffix.lower() in TEXTS]
    if not pictures and not texts:
        raise InputError(
            f"--calibration: {folder} has no pictures ({', '.join(PICTURES)}) and no texts "
            f"({', '.join(TEXTS)})"
        )
    for path in pictures:
        yield Request(text=QUESTION, images=[path])
    for path in texts:
        yield Request(text=path.read_text(encoding="utf-8", errors="replace"))


def _scenes() -> Iterator[Request]:
    from triptych.core.request import Request
    from triptych.models.sketch.conversations import held_out

    for task in ("describe", "read", "pattern", "capital"):
        for question in held_out(task, SCENES, seed=SEED):
            asked = question.messages[-1]["content"]
            parts = asked if isinstance(asked, list) else [{"type": "text", "text": asked}]
            text = " ".join(str(part["text"]) for part in parts if part["type"] == "text")
            yield Request(text=text, images=question.images)
