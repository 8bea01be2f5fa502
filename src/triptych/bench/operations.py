"""How many arithmetic operations a run took, counted from the shapes in ONNX Runtime's profile.

A multiplication with its addition is two operations. Counted are matrix products, 2 x rows x
depth x columns, by whatever node; convolutions; and attention, 4 x queries x keys x head size for
every query head, where of a causal pass a token sees itself and what came before. All else is
small beside them. Products of quantized weights are of `int8`, MatMulNBits among them, which
multiplies so at the accuracy level that exports give it; everything else is of `float32`.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.core.errors import TriptychError

INTEGER = frozenset(
    {
        "MatMulNBits",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QLinearMatMul",
        "QGemm",
        "ConvInteger",
        "QLinearConv",
        "QMoE",
    }
)
"""Nodes that multiply integers."""

CONTAINERS = frozenset({"Loop", "If", "Scan"})
"""Nodes whose time is that of others within them."""

FLOAT = frozenset({"MatMul", "FusedMatMul", "Gemm", "FusedGemm"})

ATTENTION = frozenset({"GroupQueryAttention", "MultiHeadAttention", "Attention"})


class ProfileError(TriptychError):
    """A profile that is damaged, as ONNX Runtime once in a while writes one."""

    exit_code = 1


@dataclass
class Operations:
    """Counts by arithmetic, and the seconds that nodes took, by kind."""

    float32: int = 0
    int8: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def total(self) -> int:
        """Of both."""
        return self.float32 + self.int8

    def less(self, other: Operations) -> Operations:
        """What is left without those of `other`."""
        return Operations(
            self.float32 - other.float32,
            self.int8 - other.int8,
            {op: max(took - other.seconds.get(op, 0), 0.0) for op, took in self.seconds.items()},
        )

    def each_of(self, count: int) -> Operations:
        """The share of one of `count` equal parts."""
        seconds = {op: took / count for op, took in self.seconds.items()}
        return Operations(self.float32 // count, self.int8 // count, seconds)

    def shares(self) -> dict[str, float]:
        """Of the time of all nodes, by kind, from most to least."""
        own = {op: took for op, took in self.seconds.items() if op not in CONTAINERS}
        whole = sum(own.values()) or 1.0
        return {op: own[op] / whole for op in sorted(own, key=lambda op: -own[op])}

    def least_seconds(self, float32: float, int8: float) -> float:
        """How long they take at least, at so many operations a second."""
        return self.float32 / float32 + self.int8 / int8


def runs_of(file: Path) -> list[list[Mapping[str, Any]]]:
    """The node events of each run that a profile has, in order. Raises ProfileError."""
    try:
        events = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as cause:
        raise ProfileError(f"{file}: ONNX Runtime's profile cannot be read: {cause}") from cause
    runs = [event for event in events if event.get("name") == "model_run"]
    runs.sort(key=lambda event: event["ts"])
    nodes = sorted(
        (event for event in events if event.get("cat") == "Node" and "op_name" in event["args"]),
        key=lambda event: event["ts"],
    )
    found: list[list[Mapping[str, Any]]] = [[] for _ in runs]
    place = 0
    for node in nodes:
        while place < len(runs) and node["ts"] > runs[place]["ts"] + runs[place]["dur"]:
            place += 1
        if place < len(runs):
            found[place].append(node)
    return found


def count(nodes: Iterable[Mapping[str, Any]], seen: int | None = None) -> Operations:
    """The operations of a run's node events. seen: tokens that its caches held before, if any."""
    total = Operations()
    for node in nodes:
        arguments = node["args"]
        op = arguments["op_name"]
        inputs = [_shape(one) for one in arguments.get("input_type_shape", ())]
        outputs = [_shape(one) for one in arguments.get("output_type_shape", ())]
        total.seconds[op] += float(node.get("dur", 0)) / 1e6
        if not inputs or not outputs:
            continue
        if op in ATTENTION:
            total.float32 += _attention(op, inputs, outputs, seen)
        elif op in INTEGER:
            total.int8 += _product(op, inputs, outputs)
        elif op in FLOAT or op == "Conv":
            total.float32 += _product(op, inputs, outputs)
    return total


def _product(op: str, inputs: list[Sequence[int]], outputs: list[Sequence[int]]) -> int:
    if op in {"Conv", "ConvInteger"}:
        depth = math.prod(inputs[1][1:])
    else:
        depth = inputs[0][-1] if inputs[0] else 1
    return 2 * math.prod(outputs[0]) * depth


def _attention(
    op: str, inputs: list[Sequence[int]], outputs: list[Sequence[int]], seen: int | None
) -> int:
    """Queries [B, S, hidden] come first, and keys [B, keys, ...] second."""
    queries = inputs[0][1] if len(inputs[0]) > 1 else 1
    if op == "GroupQueryAttention":
        past = seen or 0
        pairs = queries * past + queries * (queries + 1) // 2
    else:
        pairs = queries * (inputs[1][1] if len(inputs) > 1 and len(inputs[1]) > 1 else queries)
    batch, hidden = outputs[0][0], outputs[0][-1]
    return 4 * batch * pairs * hidden


def _shape(one: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """Of ``{"float": [1, 5]}``; nothing for what is no tensor."""
    return next((shape for shape in one.values() if isinstance(shape, list)), [])
