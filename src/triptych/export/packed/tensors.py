"""The tensors of a packed layer, and the weight that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from triptych.export.packed.codes import PackedBlocks
from triptych.export.packed.plan import PackedError, Plan

if TYPE_CHECKING:
    from triptych.export.checkpoint import Weight


def packed_tensor(tensors: Mapping[str, Weight], name: str, plan: Plan) -> Weight:
    """One of a layer's tensors, a matrix or a list of numbers. Raises PackedError if absent."""
    if name not in tensors:
        raise PackedError(
            f"{plan.place}: the weights hold no tensor {name!r}, which its quantization_config "
            f"implies. Is the checkpoint complete?"
        )
    return tensors[name]


def whole(layer: str, blocks: PackedBlocks) -> Weight:
    """The weight as a checkpoint that was never quantized would have it."""
    from triptych.export.checkpoint import Weight

    shape = blocks.rows, blocks.columns
    return Weight(f"{layer}.weight", shape, blocks.dequantized, packed=blocks)
