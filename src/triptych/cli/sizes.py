"""Sizes of files, as people type them."""

from __future__ import annotations

import re

from triptych.core.errors import InputError

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?B)?", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """How many bytes `500MB` or `2GB` are. Raises InputError for what is no size above 0."""
    found = _SIZE.fullmatch(text.strip())
    unit = (found[2] or "").upper().removesuffix("B") if found else ""
    size = int(float(found[1]) * UNITS[f"{unit}B" if unit else ""]) if found else 0
    if size < 1:
        raise InputError(f"{text!r} is no size of a file: write it as 500MB or 2GB.")
    return size
