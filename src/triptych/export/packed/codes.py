"""Codes that lie packed in 32-bit words, and the blocks that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from triptych.core.ports import Array
from triptych.export.packed.plan import PackedError, Plan
from triptych.export.precision.blocks import BlockFormat, Blocks
from triptych.export.tensors import spans

WORD_BITS = 32
# The sizes of a block that MatMulNBits has kernels for; a larger group is cut into the last.
BLOCKS = (32, 64, 128)

# Some rows of a weight: codes u8 [n, K], scales f32 [n, groups], zeros u8 [n, groups] or None.
Rows = tuple[Array, Array, Array | None]


def unpack(words: Array, bits: int, *, order: Sequence[int] | None = None) -> Array:
    """Words i32 [..., n] as codes u8 [..., n * 32 / bits], the lowest bits first.

    order: which place of its word each code has, where they do not follow each other.
    """
    places = np.arange(WORD_BITS // bits) if order is None else np.asarray(order)
    shifts = (places * bits).astype(np.uint32)
    codes = (words.view(np.uint32)[..., None] >> shifts) & np.uint32(2**bits - 1)
    return codes.astype(np.uint8).reshape(*words.shape[:-1], -1)


@dataclass(frozen=True)
class PackedBlocks:
    """The blocks of one packed weight [rows, columns]; a `BlockSource`.

    read: gives some of the rows. repeat: blocks that one group becomes.
    """

    method: str
    format: BlockFormat
    rows: int
    columns: int
    repeat: int
    read: Callable[[slice], Rows]

    def pieces(self) -> Iterator[Blocks]:
        """As many rows at a time as a piece may have values."""
        for span in spans(self.rows, self.columns):
            yield self._blocks(span)

    def dequantized(self) -> Array:
        """The whole weight, f32 [rows, columns]."""
        return np.concatenate([blocks.dequantized() for blocks in self.pieces()])

    def _blocks(self, span: slice) -> Blocks:
        codes, scales, zeros = self.read(span)
        blocks = self.format.blocks(self.columns)
        scales = np.repeat(scales, self.repeat, axis=1)[:, :blocks]
        width = blocks * self.format.size
        filled = np.full((len(codes), width), self.format.middle, np.uint8)
        if zeros is not None:
            zeros = np.repeat(zeros, self.repeat, axis=1)[:, :blocks]
            filled[:] = zeros[:, -1:]
        filled[:, : self.columns] = codes
        blocked = filled.reshape(len(codes), blocks, self.format.size)
        return Blocks(self.format, self.columns, blocked, np.ascontiguousarray(scales), zeros)


def packed_blocks(
    method: str, layer: str, shape: tuple[int, int], plan: Plan, read: Callable[[slice], Rows]
) -> PackedBlocks:
    """The blocks of a layer's weight of `shape` [rows, columns]. Raises PackedError."""
    rows, columns = shape
    group = plan.group or columns
    size = next((size for size in BLOCKS if size == group), BLOCKS[-1])
    if group != columns and (group % size or columns % group):
        raise PackedError(
            f"{plan.place}: {layer} has {columns} inputs in groups of {group}, which is not read: "
            f"groups of 32, 64 or a multiple of 128 are, if they divide the inputs."
        )
    form = BlockFormat(plan.bits, size, symmetric=plan.symmetric)
    return PackedBlocks(method, form, rows, columns, -(-group // size), read)
