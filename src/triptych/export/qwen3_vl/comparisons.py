"""Runs an export and its checkpoint side by side on made-up pictures and prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from triptych.core.ports import Array
from triptych.export.checkpoint import Checkpoint
from triptych.export.comparison import Compared
from triptych.export.precision import Precision
from triptych.export.qwen3_vl.cases import CASES, Case, made_up_case
from triptych.export.qwen3_vl.config import read_config
from triptych.export.qwen3_vl.graphs import ExportedGraphs
from triptych.export.qwen3_vl.reference import Reference

# Tokens decoded after each prompt.
STEPS = 16


def comparisons(folder: Path, checkpoint: Checkpoint, precision: Precision) -> Iterator[Compared]:
    """What each stage of the export in `folder` writes, beside what it should write."""
    config = read_config(checkpoint.config, str(checkpoint.folder / "config.json"))
    reference = Reference(checkpoint.folder, precision)
    graphs = ExportedGraphs(folder, config.text, room=STEPS)
    random = np.random.default_rng(0)
    for name, sizes in CASES.items():
        case = made_up_case(name, sizes, config.vision, reference.config, random)
        yield from _compare(case, graphs, reference, precision.tolerance)


def _compare(
    case: Case, graphs: ExportedGraphs, reference: Reference, tolerance: float
) -> Iterator[Compared]:
    own, given = graphs.nothing, graphs.nothing
    if case.pixels is not None and case.grids is not None:
        own = graphs.vision(case.pixels, case.grids)
        given = reference.vision(case.pixels, case.grids)
        for port, actual, expected in zip(
            ("image_features", "deepstack_features"), own, given, strict=True
        ):
            yield Compared("vision_encoder", port, case.name, actual, expected)
            if actual.shape != expected.shape:
                own = given
    rows = graphs.embed(case.ids[None])
    expected_rows = reference.embed(case.ids[None])
    yield Compared("embeddings", "inputs_embeds", case.name, rows, expected_rows)

    places = reference.positions(case.ids, case.grids)
    media = case.ids == reference.config.image_token_id
    prompt, steps, tokens = reference.logits(case.ids, case.pixels, case.grids, STEPS)
    logits = graphs.prefill(expected_rows, media, given, places)
    yield Compared("decoder", "logits of the prompt", case.name, logits, prompt)
    logits = np.stack(
        [graphs.step(reference.embed(one), place) for one, place in _fed(tokens, places)]
    )
    yield Compared("decoder", "logits of each step", case.name, logits, steps)

    chosen = [int(graphs.prefill(rows, media, own, places)[-1].argmax())]
    for _, place in _fed(tokens, places):
        row = graphs.step(graphs.embed(np.array([[chosen[-1]]])), place)
        chosen.append(int(row.argmax()))
    choices = np.concatenate([prompt[-1:], steps])
    same = _same_until_tie(np.array(chosen, np.int64), tokens, choices, tolerance)
    yield Compared("decoder", "greedy tokens", case.name, *same)


def _same_until_tie(
    chosen: Array, expected: Array, logits: Array, tolerance: float
) -> tuple[Array, Array]:
    """Both, cut where they part on two logits that are closer than the tolerance.

    logits: f32 [steps, V], of the expected tokens. What follows such a tie says nothing.
    """
    parted = np.flatnonzero(chosen != expected)
    if parted.size:
        row = logits[parted[0]]
        second, first = np.partition(row, -2)[-2:]
        if first - second <= tolerance * np.abs(row).max():
            return chosen[: parted[0]], expected[: parted[0]]
    return chosen, expected


def _fed(tokens: Array, places: Array) -> Iterator[tuple[Array, Array]]:
    """Each token that is fed back, i64 [1, 1], and its positions, i64 [3, 1, 1]."""
    free = int(places.max()) + 1
    for done, token in enumerate(tokens[:-1]):
        yield token.reshape(1, 1), np.full((3, 1, 1), free + done, np.int64)
