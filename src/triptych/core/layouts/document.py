"""The text of a pipeline file for a folder that another tool made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.core.layouts.stage_items import StageItem, StageItems
from triptych.core.sampling.defaults import sampler

MAX_NEW_TOKENS = 100
WIDTH = 96
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off"})

HEADER = """\
# A Triptych pipeline for graphs made by {tool}, as `triptych import` read their ports.
# Run it:    triptych run FOLDER --text "Hello"
# Stages run from top to bottom; each reads and writes named tensors. `ports` gives a graph's names,
# axes and dtypes those of the pipeline. Edit what you like: `triptych check FOLDER` says whether
# it still fits.
"""


def document(
    items: StageItems,
    *,
    tool: str,
    processor: str,
    generation: Mapping[str, Any] | None,
    root: Path | None,
) -> str:
    """The text of a pipeline.yaml.

    tool: what the folder seems to come from, for the header. processor: its component's name.
    generation: the keys of a generation_config.json. root: where the graphs are, unless that is
    the file's own folder.
    """
    lines = [HEADER.format(tool=tool)]
    lines += [f"# {line}\n" for warning in items.warnings for line in _wrapped(f"Note: {warning}.")]
    lines += ["format: 1\n"]
    if root is not None:
        lines += [f"root: {_flow(str(root))}\n"]
    lines += [f"processor: {{{processor}: .}}\n", "stages:\n"]
    lines += [f"{line}\n" for item in items.items for line in _stage(item)]
    lines += ["sampler:\n", *(f"  - {step}\n" for step in sampler(generation))]
    lines += ["strategy: autoregressive\n", f"stop: {{max_new_tokens: {MAX_NEW_TOKENS}}}\n"]
    lines += ["session: {providers: [cpu], threads: auto}\n"]
    return "".join(lines)


def _stage(item: StageItem) -> Iterator[str]:
    """The lines of one stage."""
    for comment in item.comments:
        yield from (f"  # {line}" for line in _wrapped(comment))
    line = f"  - {item.name}" + ("" if item.value is None else f": {_flow(item.value)}")
    if len(line) > WIDTH and isinstance(item.value, Mapping):
        yield f"  - {item.name}:"
        yield from (f"      {_flow(name)}: {_flow(one)}" for name, one in item.value.items())
    else:
        yield line
    if item.ports:
        yield "    ports:"
        for name, change in item.ports.items():
            yield f"      {_flow(name)}: {_flow(change)}"
    if item.ignore:
        yield f"    ignore: {_flow(item.ignore)}"


def _flow(value: Any) -> str:
    """A value in YAML's flow style, text without quotes where it needs none."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else json.dumps(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)


def _wrapped(text: str) -> Iterator[str]:
    """Printable lines of a comment."""
    line = ""
    for word in "".join(letter if letter.isprintable() else "?" for letter in text).split():
        if line and len(line) + len(word) + 1 > WIDTH:
            yield line
            line = ""
        line = f"{line} {word}".lstrip()
    if line:
        yield line
