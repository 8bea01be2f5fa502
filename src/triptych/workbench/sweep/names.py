"""What an arm of the matrix is called: by what it changes, in few words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from triptych.core.config.nodes import shown

LONGEST = 60
"""Characters of one value; a longer one ends with a digest of all of it."""
_DIGEST = 6


def short_paths(paths: Sequence[str]) -> dict[str, str]:
    """The shortest end of each dotted path that no other has."""
    found = {}
    for path in paths:
        keys = path.split(".")
        ends = [".".join(keys[-count:]) for count in range(1, len(keys) + 1)]
        others = [other for other in paths if other != path]
        found[path] = next(
            end for end in ends if not any(f".{one}".endswith(f".{end}") for one in others)
        )
    return found


def name_of(values: Mapping[str, Any], short: Mapping[str, str]) -> str:
    """``temperature=0.3,top_p=0.8``."""
    return ",".join(f"{short[path]}={text_of(value)}" for path, value in values.items())


def text_of(value: Any) -> str:
    """A value in a name: as YAML would have it, without its spaces and quotes."""
    text = _flow(value)
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    return f"{text[: LONGEST - _DIGEST - 1]}~{digest}"


def _flow(value: Any) -> str:
    """A list joined by plus signs; a mapping of one key as an item is written."""
    if isinstance(value, list):
        return "+".join(map(_flow, value)) or "[]"
    if isinstance(value, dict):
        inner = ";".join(
            key if one is None else f"{key}:{_flow(one)}" for key, one in value.items()
        )
        return inner if len(value) == 1 else f"{{{inner}}}"
    if isinstance(value, str):
        # A folder is known by its own name; two that share it are told apart by their number.
        return PurePath(value).name if "/" in value and value[0] in "./~" else value
    return shown(value)
