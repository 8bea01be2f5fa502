"""The experts of a layer, from any of the ways in which checkpoints hold them.

All experts in one tensor, gate and up side by side, each matrix as its transpose (`x @ weight`):
    what is published: `gate_up_proj` [experts, hidden, 2 * inner],
    `down_proj` [experts, inner, hidden]
The same, not transposed (`weight @ x`):
    what transformers 5 has in memory: `gate_up_proj` [experts, 2 * inner, hidden], ...
A tensor for each matrix of each expert, as in Qwen3's text models:
    `0.gate_proj.weight` [inner, hidden], `0.up_proj.weight`, `0.down_proj.weight`, `1.gate_proj...`
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from triptych.core.ports import Array
from triptych.export.checkpoint import CheckpointError, Weight
from triptych.export.experts import Experts, Stack
from triptych.export.graphs.weights import Weights
from triptych.export.tensors import turned

# Columns that are copied at a time: those of a transposed matrix lie far apart in the file.
BLOCK_COLUMNS = 64


def read_experts(
    weights: Weights, *, experts: int, chosen: int, hidden: int, inner: int
) -> Experts:
    """The experts below `weights`. No value is read yet, and each matrix will be by itself.

    Raises CheckpointError when they are absent or of other sizes.
    """
    whole = f"{weights.prefix}.gate_up_proj" in weights.checkpoint
    gate_up, down = (_joined if whole else _apart)(weights, experts, hidden, inner)
    return Experts(gate_up, down, chosen)


def _joined(weights: Weights, experts: int, hidden: int, inner: int) -> tuple[Stack, Stack]:
    """From two tensors that hold all experts.

    Where one of them is square and fits both ways, the other tells: both cannot be.
    """
    checkpoint, prefix = weights.checkpoint, weights.prefix
    first = checkpoint.weight(f"{prefix}.gate_up_proj")
    second = checkpoint.weight(f"{prefix}.down_proj")
    found = first.shape, second.shape
    published = (experts, hidden, 2 * inner), (experts, inner, hidden)
    in_memory = (experts, 2 * inner, hidden), (experts, hidden, inner)
    if found not in {published, in_memory}:
        raise CheckpointError(
            f"{checkpoint.folder}: the shapes of {first.name} and {second.name} are "
            f"{list(found[0])} and {list(found[1])}, but config.json implies "
            f"{list(published[0])} and {list(published[1])}, or each matrix transposed."
        )

    def one(stack: Weight, expert: int) -> Array:
        stored: Array = stack.read()[expert]
        return stored.T if found == published else stored

    def both(expert: int) -> Array:
        return in_turn(*np.split(one(first, expert), 2))

    def down(expert: int) -> Array:
        stored = one(second, expert)
        # Whoever reads rows should find the values of one side by side.
        return stored if found != published else np.vstack([*turned(stored.T, stored.dtype)])

    return (
        _stack(first.name, experts, both, (2 * inner, hidden)),
        _stack(second.name, experts, down, (hidden, inner)),
    )


def _apart(weights: Weights, experts: int, hidden: int, inner: int) -> tuple[Stack, Stack]:
    """From three tensors for each expert."""
    each = [weights.under(str(number)) for number in range(experts)]
    gates = [own.get("gate_proj.weight", inner, hidden) for own in each]
    ups = [own.get("up_proj.weight", inner, hidden) for own in each]
    downs = [own.get("down_proj.weight", hidden, inner) for own in each]

    def both(expert: int) -> Array:
        return in_turn(gates[expert].read(), ups[expert].read())

    return (
        _stack(f"{weights.prefix}.gate_up_proj", experts, both, (2 * inner, hidden)),
        Stack(f"{weights.prefix}.down_proj", downs),
    )


def _stack(name: str, experts: int, read: Callable[[int], Array], shape: tuple[int, int]) -> Stack:
    return Stack(name, [Weight(name, shape, partial(read, number)) for number in range(experts)])


def in_turn(gate: Array, up: Array) -> Array:
    """Rows of both in turn, the gate's first: [inner, hidden] twice becomes [2 * inner, hidden]."""
    inner, hidden = gate.shape
    rows = np.empty((inner, 2, hidden), gate.dtype)
    for start in range(0, hidden, BLOCK_COLUMNS):
        block = slice(start, start + BLOCK_COLUMNS)
        rows[:, 0, block], rows[:, 1, block] = gate[:, block], up[:, block]
    return rows.reshape(2 * inner, hidden)
