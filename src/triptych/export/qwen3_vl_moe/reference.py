"""Qwen3-VL-MoE as transformers runs it: what an export is held against."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from triptych.core.ports import Array
from triptych.export.qwen3_vl.reference import Qwen3VLReference
from triptych.export.verification.reference import Weights

# A matrix of one expert, where a checkpoint has a tensor for each.
SINGLE = re.compile(
    r"(?P<root>.+\.experts)\.(?P<expert>\d+)\.(?P<matrix>gate|up|down)_proj\.weight"
)


class Qwen3VLMoeReference(Qwen3VLReference):
    """The models with experts."""

    architecture = "Qwen3VLMoeForConditionalGeneration"

    def __init__(self, folder: Path, weights: Weights) -> None:
        super().__init__(folder, joined(weights))


def joined(weights: Weights) -> Weights:
    """The weights with all experts of a layer in two tensors, which is what transformers reads."""
    single = {name: found for name in weights if (found := SINGLE.fullmatch(name))}
    rest = {name: read for name, read in weights.items() if name not in single}
    for root in {found["root"] for found in single.values()}:
        count = 1 + max(int(found["expert"]) for found in single.values() if found["root"] == root)
        names = {
            matrix: [f"{root}.{expert}.{matrix}_proj.weight" for expert in range(count)]
            for matrix in ("gate", "up", "down")
        }
        reads = {matrix: [weights[name] for name in some] for matrix, some in names.items()}
        rest.setdefault(f"{root}.gate_up_proj", partial(_stack, [reads["gate"], reads["up"]]))
        rest.setdefault(f"{root}.down_proj", partial(_stack, [reads["down"]]))
    return rest


def _stack(reads: list[list[Callable[[], Array]]]) -> Array:
    """Several matrices of each expert, one above the other: [experts, rows, columns]."""
    return np.stack(
        [np.concatenate([read() for read in each]) for each in zip(*reads, strict=True)]
    )
