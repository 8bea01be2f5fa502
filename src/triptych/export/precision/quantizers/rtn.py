"""Round to nearest: the range of a block is cut into equal steps."""

from __future__ import annotations

import numpy as np

from triptych.core.ports import Array
from triptych.export.precision.blocks import BlockFormat, Blocks, cut

# A block of zeros, or of values too small to divide by, has the scale 1 instead.
SMALLEST = np.finfo(np.float32).tiny


def rtn(rows: Array, form: BlockFormat) -> Blocks:
    """Rows f32 [n, K] as blocks whose codes reach from the least to the largest value.

    Zero is a code of its own, so that padding and pruned weights stay exact.
    """
    values = cut(rows, form.size)
    scales, zeros = ranges(values, form)
    codes = nearest(values, scales, zeros, form).astype(np.uint8)
    stored = None if form.symmetric else zeros.astype(np.uint8)
    return Blocks(form, rows.shape[1], codes, scales, stored)


def ranges(values: Array, form: BlockFormat) -> tuple[Array, Array]:
    """The scale and the zero of each block, f32 [n, blocks] of f32 [n, blocks, size].

    Symmetric formats have one code more below the zero than above it: the value that is farthest
    from zero takes that, so a scale may be negative.
    """
    low = np.minimum(values.min(axis=-1), 0)
    high = np.maximum(values.max(axis=-1), 0)
    if form.symmetric:
        scales = np.where(high > -low, high, low) / np.float32(-form.middle)
        zeros = np.full_like(scales, form.middle)
        return np.where(np.abs(scales) < SMALLEST, np.float32(1), scales), zeros
    scales = (high - low) / np.float32(form.largest)
    scales = np.where(scales < SMALLEST, np.float32(1), scales)
    return scales, np.rint(-low / scales)


def nearest(values: Array, scales: Array, zeros: Array, form: BlockFormat) -> Array:
    """The code nearest to each value, f32 [n, blocks, size]."""
    codes = values * (1 / scales)[..., None]
    codes += zeros[..., None]
    np.rint(codes, out=codes)
    return np.clip(codes, 0, form.largest, out=codes)
