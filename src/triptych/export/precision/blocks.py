"""Rows of a weight as small integers, block by block, in the layout of ONNX Runtime's operators.

A row of K values is cut into blocks of 32, 64 or 128; the last one is filled up where K is no
multiple. A value is `(code - zero) * scale` of its block. The bytes are those that `MatMulNBits`
reads as B [N, blocks, bytes per block] and `GatherBlockQuantized` as data [N, bytes per row], both
of the domain com.microsoft:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triptych.core.ports import Array

BITS_PER_BYTE = 8


@dataclass(frozen=True)
class BlockFormat:
    """How the values of a weight are cut and counted.

    bits: 4 or 8. size: values in a block. symmetric: every block's zero is the middle code, and
    none is stored.
    """

    bits: int
    size: int
    symmetric: bool = False

    @property
    def middle(self) -> int:
        """The code of zero where no zeros are stored: 8 or 128, fixed by the operators."""
        return int(2 ** (self.bits - 1))

    @property
    def largest(self) -> int:
        """The largest code: 15 or 255."""
        return int(2**self.bits - 1)

    def blocks(self, columns: int) -> int:
        """How many blocks a row of so many values has."""
        return -(-columns // self.size)

    def block_bytes(self) -> int:
        """Bytes of one block's codes."""
        return self.size * self.bits // BITS_PER_BYTE

    def zero_bytes(self, columns: int) -> int:
        """Bytes of one row's zeros, the last filled up."""
        return -(-self.blocks(columns) * self.bits // BITS_PER_BYTE)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Some rows [n, K] of a weight.

    codes: u8 [n, blocks, size], one code a byte; codes past `columns` are their block's zero.
    scales: f32 [n, blocks]. zeros: u8 [n, blocks]; None where the format is symmetric.
    columns: K.
    """

    format: BlockFormat
    columns: int
    codes: Array
    scales: Array
    zeros: Array | None = None

    @classmethod
    def unpacked(
        cls, form: BlockFormat, columns: int, packed: Array, scales: Array, zeros: Array | None
    ) -> Blocks:
        """The inverse of `packed` and `packed_zeros`; scales of n * blocks values, in any shape."""
        blocks = form.blocks(columns)
        rows = scales.size // blocks
        codes = _unpack(packed.reshape(rows, blocks, -1), form.bits)
        if zeros is not None:
            zeros = _unpack(zeros.reshape(rows, -1), form.bits)[:, :blocks]
        return cls(form, columns, codes, scales.reshape(rows, blocks), zeros)

    def packed(self) -> Array:
        """The codes as stored, u8 [n, blocks, bytes per block]: the low half of a byte first."""
        return _pack(self.codes, self.format.bits)

    def packed_zeros(self) -> Array | None:
        """The zeros as stored, u8 [n, bytes per row of zeros]."""
        return None if self.zeros is None else _pack(self.zeros, self.format.bits)

    def dequantized(self) -> Array:
        """The values that the codes stand for, f32 [n, K]."""
        zeros = self.format.middle if self.zeros is None else self.zeros[..., None]
        values: Array = self.codes.astype(np.float32)
        values -= zeros
        values *= self.scales[..., None]
        return np.ascontiguousarray(values.reshape(len(values), -1)[:, : self.columns])


def cut(rows: Array, size: int) -> Array:
    """Rows [n, K] as blocks f32 [n, blocks, size]; a last block is filled up with zeros."""
    count, columns = rows.shape
    blocks = -(-columns // size)
    if columns == blocks * size:
        return np.ascontiguousarray(rows, np.float32).reshape(count, blocks, size)
    padded = np.zeros((count, blocks * size), np.float32)
    padded[:, :columns] = rows
    return padded.reshape(count, blocks, size)


def _pack(codes: Array, bits: int) -> Array:
    if bits == BITS_PER_BYTE:
        return np.ascontiguousarray(codes)
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros_like(codes[..., :1])], axis=-1)
    packed: Array = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return packed


def _unpack(packed: Array, bits: int) -> Array:
    if bits == BITS_PER_BYTE:
        return packed
    codes = np.empty((*packed.shape[:-1], 2 * packed.shape[-1]), np.uint8)
    codes[..., 0::2] = packed & 0x0F
    codes[..., 1::2] = packed >> 4
    return codes
