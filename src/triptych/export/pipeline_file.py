"""The pipeline.yaml of an export, written as a person would write it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from triptych.core.sampling.defaults import sampler
from triptych.export.exporter import StageItem

MAX_NEW_TOKENS = 100
# Keys of generation_config.json that shape the answer, with the values that change nothing.
NEUTRAL_OTHERS = {
    "repetition_penalty": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
}

HEADER = """\
# A Triptych pipeline: {source}, exported with {precision} weights.
# Run it:    triptych run FOLDER --image photo.jpg --text "What is this?"
# Stages run from top to bottom; each reads and writes named tensors. Insert your own between
# them, swap one, or change the sampler below: `triptych check FOLDER` says whether it still fits.
# The tokenizer, the chat template and the stop tokens are in the files beside this one.
"""


def pipeline_yaml(
    *,
    source: str,
    precision: str,
    processor: str,
    stages: Sequence[StageItem],
    generation: Mapping[str, Any] | None,
    halves: tuple[str, str] | None = None,
) -> str:
    """The text of a pipeline.yaml.

    source: the checkpoint's name, for the header. processor: its component's name. generation:
    the checkpoint's generation_config.json, or None without one. halves: the files of a decoder's
    two graphs, where it has two.
    """
    lines = [HEADER.format(source=_printable(source), precision=precision) + "format: 1"]
    lines += [f"processor: {{{processor}: .}}", "stages:"]
    for name, value in stages:
        if halves is not None and value == halves[1]:
            lines += [
                f"  - {{{name}: {halves[0]}, as: early_decoder}}",
                "  # A stage between the halves may drop tokens: `triptych plugins fastv`.",
            ]
        lines.append(f"  - {_item(name, value)}")
    lines += ["sampler:", *(f"  - {step}" for step in sampler(generation))]
    lines += [f"  # {note}" for note in _unserved(generation or {})]
    lines += ["strategy: autoregressive", f"stop: {{max_new_tokens: {MAX_NEW_TOKENS}}}"]
    lines += ["session: {providers: [cpu], threads: auto}"]
    return "\n".join(lines) + "\n"


def _unserved(generation: Mapping[str, Any]) -> list[str]:
    """What the generation config asks for beyond the chain, a line each."""
    return [
        f"generation_config.json asks for {key}: {generation[key]!r}, too; no step here does that."
        for key, neutral in NEUTRAL_OTHERS.items()
        if generation.get(key, neutral) not in (None, neutral)
    ]


def _item(name: str, value: str | Mapping[str, Any] | None) -> str:
    """A stage as the file has it: its name, its main setting or its settings."""
    if value is None:
        return name
    return f"{name}: {value if isinstance(value, str) else json.dumps(value)}"


def _printable(text: str) -> str:
    """Text that stays on one line of a YAML comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
