"""Whether an export holds the weights of its checkpoint: what catches a stale or a turned one.

Where weights are stored as blocks of whole numbers, the reference computes with what the export
stores, because not every method's rounding can be made anew. A wrong weight would then be wrong
on both sides; it is seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from triptych.core.ports import Array
from triptych.export.checkpoint import Checkpoint
from triptych.export.precision.row_storage import OPERATOR as ROWS
from triptych.export.precision.stored import (
    STACK_AXES,
    codes_of,
    fitted,
    graph_weights,
    prompt_weights,
)
from triptych.export.tensors import spans
from triptych.export.verification.comparison import Check
from triptych.export.verification.tapped import TappedPipeline

# The largest error of a weight, as the length of the difference over the length of the weight.
# Floats: half a unit in the last place, and room. Blocks: 0.005 with 8 bits and 0.08 with 4 were
# measured on `sketch` and on random weights in blocks of 32; a weight that has another's values,
# or its own in another order, has about 1.4.
FLOAT_BOUNDS: Mapping[ir.DataType, float] = {
    ir.DataType.FLOAT: 1e-6,
    ir.DataType.FLOAT16: 1e-3,
    ir.DataType.BFLOAT16: 1e-2,
}
BLOCK_BOUNDS: Mapping[int, float] = {8: 0.03, 4: 0.3}

PARTS = {"attn": "attention", "mlp": "mlp", "experts": "mlp", "lm_head": "head", "embed": "head"}
"""Which part of a decoder a weight belongs to, by a piece of its name."""


def stored(pipeline: TappedPipeline) -> dict[str, Callable[[], Array]]:
    """What the pipeline's graphs compute with, by name, as float32.

    Of a table that two graphs have, the first one's: the other one's stage then differs, if theirs
    do.
    """
    found: dict[str, Callable[[], Array]] = {}
    for _, graph in _graphs(pipeline):
        for name, read in graph_weights(graph).items():
            found.setdefault(name, read)
    return found


def weight_checks(pipeline: TappedPipeline, checkpoint: Checkpoint) -> list[Check]:
    """One check for the weights of each graph; those of the decoder by part.

    `case` is the name of the weight whose error is the largest for its form, `absolute` and
    `cosine` are that weight's; `relative` is the length of the difference over the weight's.
    """
    found: dict[tuple[str, str], list[Check]] = {}
    for one in _checks(pipeline, checkpoint):
        found.setdefault((one.stage, one.port), []).append(one)
    return [
        replace(max(checks, key=_excess), note=f"the worst of {len(checks)}")
        for checks in found.values()
    ]


def _checks(pipeline: TappedPipeline, checkpoint: Checkpoint) -> Iterator[Check]:
    for label, graph in _graphs(pipeline):
        for name, read in graph_weights(graph).items():
            if name not in checkpoint:
                continue
            part = _part(name) if label == pipeline.wiring.logits_from else ""
            check = Check(
                stage=label,
                port=f"weights of {part}" if part else "weights",
                case=name,
                absolute=float("inf"),
                relative=float("inf"),
                tolerance=_bound(graph, name),
            )
            yield from _each(check, read(), checkpoint.weight(name).read())
        for names, read in prompt_weights(graph).items():
            if all(name in checkpoint for name in names):
                check = Check(
                    stage=label,
                    port="weights of prompts",
                    case=names[0],
                    absolute=float("inf"),
                    relative=float("inf"),
                    tolerance=_bound(graph, names[0]),
                )
                expected = [checkpoint.weight(name).read().astype(np.float32) for name in names]
                yield _measured(check, read(), np.concatenate(expected))


def _each(check: Check, stored: Array, expected: Array) -> Iterator[Check]:
    """One check, or one for each expert: among many, one that is wrong would hardly show."""
    if stored.ndim != STACK_AXES or stored.size != expected.size:
        yield _measured(check, stored, expected)
        return
    for number, pair in enumerate(zip(fitted(stored, expected.shape), expected, strict=True)):
        yield _measured(replace(check, case=f"{check.case}[{number}]"), *pair)


def _graphs(pipeline: TappedPipeline) -> Iterator[tuple[str, ir.Graph]]:
    """The graphs of the pipeline's stages, by label, in order. Weights stay unread."""
    for wired in pipeline.wiring.stages:
        stage: Any = wired.stage
        if hasattr(stage, "graph"):
            yield wired.label, ir.load(stage.graph.path).graph


def _excess(one: Check) -> float:
    return one.relative / one.tolerance


def _part(name: str) -> str:
    return next((part for piece, part in PARTS.items() if piece in name), "norms")


def _bound(graph: ir.Graph, name: str) -> float:
    """The largest error that the form of a weight explains."""
    codes = codes_of(graph, name)
    if codes is None:
        dtype = graph.initializers[name].dtype
        return FLOAT_BOUNDS.get(dtype or ir.DataType.FLOAT, FLOAT_BOUNDS[ir.DataType.FLOAT])
    for node, _ in codes.uses():
        if node.op_type == ROWS:
            return BLOCK_BOUNDS[8]
        for attribute in ("bits", "expert_weight_bits"):
            if attribute in node.attributes:
                return BLOCK_BOUNDS.get(node.attributes[attribute].as_int(), BLOCK_BOUNDS[4])
    return BLOCK_BOUNDS[4]


def _measured(check: Check, stored: Array, expected: Array) -> Check:
    """The check of a weight, with its errors. A wrong size stays an infinite one."""
    if stored.size != expected.size:
        return check
    ours, theirs = stored.reshape(-1), expected.reshape(-1)
    largest = difference = length = product = own = 0.0
    for span in spans(ours.size, 1):
        one, other = ours[span].astype(np.float64), theirs[span].astype(np.float64)
        apart = one - other
        largest = max(largest, float(np.abs(apart).max(initial=0.0)))
        difference += float(apart @ apart)
        length += float(other @ other)
        own += float(one @ one)
        product += float(one @ other)
    relative = np.sqrt(difference / length) if length else np.sqrt(difference)
    return replace(
        check,
        absolute=largest,
        relative=float(relative) if np.isfinite(relative) else float("inf"),
        cosine=float(product / np.sqrt(length * own)) if length * own > 0 else None,
    )
