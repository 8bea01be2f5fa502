"""How many bytes one decoding step must read, counted from the graphs' initialisers.

Every weight that a step computes with is read once, whatever the number of sequences. Of a
table only the rows of one token count: of `Gather` and `GatherBlockQuantized` what is
gathered from, of rotary embeddings the cosines and sines. Of a layer's experts as many count as
a token is routed to, and of an `If` the branch that reads less: another one is for prompts.
Activations stay in the caches of the processor and count nothing. To
the weights come, per sequence, the keys and values of every token of its context.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triptych.bench.onnx_file import Node, OnnxFile, Tensor, read_onnx
from triptych.core.ports import CachePair

TABLES = {
    "Gather": (0,),
    "GatherBlockQuantized": (0, 2, 3),
    "RotaryEmbedding": (2, 3),
    "MRotaryEmbedding": (2, 3),
}
"""The inputs of which a node reads one row for each token."""

EXPERTS = {"MoE", "QMoE"}
"""Nodes whose weights have experts along their first axis and read `k` of them."""


@dataclass(frozen=True)
class StepBytes:
    """weights: of a step of any number of sequences. context: of each token in each sequence."""

    weights: int
    context: int

    def of(self, context: int, sequences: int = 1) -> int:
        """Bytes of a step with so many tokens in each sequence."""
        return self.weights + sequences * context * self.context


def step_bytes(graphs: Iterable[Path], pairs: Iterable[CachePair]) -> StepBytes:
    """graphs: the files that run for every token. pairs: the pasts that they keep."""
    weights = sum(weight_bytes(read_onnx(path)) for path in graphs)
    return StepBytes(weights, sum(map(pair_bytes, pairs)))


def weight_bytes(file: OnnxFile) -> int:
    """Bytes of the initialisers that one token needs."""
    return sum(_read(file.nodes, file.weights).values())


def _read(nodes: Iterable[Node], weights: Mapping[str, Tensor]) -> dict[str, int]:
    """What the nodes read, by the weights' names."""
    read: dict[str, int] = {}
    for node in nodes:
        found = [
            (name, _share(node, place, weights[name]))
            for place, name in enumerate(node.inputs)
            if name in weights
        ]
        inner = [_read(branch, weights) for branch in node.branches]
        if node.op == "If" and inner:
            inner = [min(inner, key=lambda one: sum(one.values()))]
        for name, size in (*found, *(item for one in inner for item in one.items())):
            # A tied table is read whole by the one that multiplies with it.
            read[name] = max(read.get(name, 0), size)
    return read


def pair_bytes(pair: CachePair) -> int:
    """Bytes of one token's row of a past: heads times head size, packed as the graph has it."""
    _, heads, _, head = pair.past.axes
    if not isinstance(heads, int) or not isinstance(head, int):
        return 0
    return heads * head * np.dtype(pair.past.dtype).itemsize


def _share(node: Node, place: int, tensor: Tensor) -> int:
    """What of a tensor the node reads for one token."""
    if not tensor.shape:
        return tensor.bytes
    if place in TABLES.get(node.op, ()):
        return tensor.bytes // max(tensor.shape[0], 1)
    if node.op in EXPERTS and len(tensor.shape) > 1:
        return tensor.bytes * min(node.integers.get("k", 1), tensor.shape[0]) // tensor.shape[0]
    return tensor.bytes
