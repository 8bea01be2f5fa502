"""Which processor a pipeline of a folder names."""

from __future__ import annotations

from pathlib import Path

from triptych.core.components.catalog import Catalog
from triptych.core.errors import TriptychError

OWN = ("qwen_vl",)
"""Processors made for some folders; their classes say by ``serves(folder)`` for which."""
ANY = "hf"


def processor_for(folder: Path) -> str:
    """The built-in processor that was made for such a folder, or else the one for any.

    folder: has the tokenizer's and the image processor's files. A broken file is reported when
    the processor is made, not here.
    """
    catalog = Catalog()
    for name in OWN:
        processor = catalog.find("processors", name).load()
        try:
            if processor.serves(folder):  # type: ignore[attr-defined]
                return name
        except TriptychError:
            continue
    return ANY
