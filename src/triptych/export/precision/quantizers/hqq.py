"""Half-quadratic quantization: scales and zeros that suit most values of a block, not its extremes.

Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023
(https://mobiusml.github.io/hqq_blog/). The error of a block is measured as the sum of |error|^p
with p below 1, which forgives a few large errors. Two steps alternate: the errors that are to be
forgiven are found in closed form (a generalised soft threshold), then what remains is fitted by
least squares. No data is needed.

Four things differ from the publication. Zeros are whole numbers, as the operators' fast kernels
want them, so the scale is fitted, too. Errors are measured in steps of the block's scale, so that
the threshold means the same for every weight. Of all candidates a block keeps the best, round to
nearest among them. And because a fit draws values towards zero, a little in every weight of a
layer and so by far more in its outputs, each row gets its length back at the end.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from triptych.core.ports import Array
from triptych.export.precision.blocks import BlockFormat, Blocks, cut
from triptych.export.precision.quantizers.rtn import nearest, ranges

# Rounds end when they improve a tile by less than this share.
STEPS, ENOUGH = 10, 0.002
# The weight of the quadratic term at first, and how much it grows with each step.
BETA, GROWTH = 2.0, 1.1
# p is 0.75; the publication has 0.7. This one is made of square roots, which are fast.
POWER = 0.75


def hqq(rows: Array, form: BlockFormat) -> Blocks:
    """Rows f32 [n, K] as blocks, by alternating between what is forgiven and what is fitted."""
    values = cut(rows, form.size)
    scales, zeros = _fitted(values, form)
    codes = nearest(values, scales, zeros, form).astype(np.uint8)
    stored = None if form.symmetric else zeros.astype(np.uint8)
    return _lengthened(Blocks(form, rows.shape[1], codes, scales, stored), rows)


def block_errors(values: Array, found: Array) -> Array:
    """The sum of |error|^p over each block: f32 [..., blocks] of two f32 [..., blocks, size]."""
    total: Array = (np.abs(values - found) ** POWER).sum(axis=-1, dtype=np.float32)
    return total


def _fitted(values: Array, form: BlockFormat) -> tuple[Array, Array]:
    """The best scales and zeros, f32 [n, blocks] each, for f32 [n, blocks, size].

    All arithmetic is in steps of the scale and in place: numpy's time goes into memory.
    """
    scales, zeros = best_scales, best_zeros = ranges(values, form)
    best = np.full(scales.shape, np.inf, np.float32)
    places, errors, size, root = (np.empty_like(values) for _ in range(4))
    before = np.inf
    for step in range(STEPS):
        np.multiply(values, (1 / scales)[..., None], out=places)
        np.add(places, zeros[..., None], out=errors)
        np.rint(errors, out=errors)
        steps = np.clip(errors, 0, form.largest)
        steps -= zeros[..., None]
        np.subtract(places, steps, out=errors)
        np.abs(errors, out=size)
        # An exact hit would be divided by.
        np.maximum(size, 1e-9, out=size)
        np.sqrt(size, out=root)
        np.sqrt(root, out=root)
        found = np.einsum("...i,...i,...i->...", root, root, root) * np.abs(scales) ** POWER
        better = found < best
        best = np.where(better, found, best)
        best_scales = np.where(better, scales, best_scales)
        best_zeros = np.where(better, zeros, best_zeros)
        total = float(best.sum())
        if total > before * (1 - ENOUGH):
            break
        before = total
        # What is forgiven: the proximal operator of |error|^p.
        np.divide(-1 / (BETA * GROWTH**step), root, out=root)
        size += root
        np.maximum(size, 0, out=size)
        np.copysign(size, errors, out=size)
        places -= size
        if not form.symmetric:
            np.subtract(steps, places, out=errors)
            moved = np.clip(np.rint(zeros + errors.mean(axis=-1)), 0, form.largest)
            steps += (zeros - moved)[..., None]
            zeros = moved
        scales = scales * _shares(steps, places)
    return best_scales, best_zeros


def _shares(steps: Array, places: Array) -> Array:
    """By how much a scale has to change for its steps to fit places best, by least squares."""
    squares = np.einsum("...i,...i->...", steps, steps)
    products = np.einsum("...i,...i->...", steps, places)
    # A scale that turned over or vanished fits nothing.
    usable = (squares > 0) & (products > squares / 2)
    return np.where(usable, products / np.where(usable, squares, 1), 1).astype(np.float32)


def _lengthened(blocks: Blocks, rows: Array) -> Blocks:
    """The blocks with scales that make each row's share of itself, <row, found>, a whole one."""
    found = blocks.dequantized()
    own = np.einsum("ni,ni->n", rows, rows)
    shared = np.einsum("ni,ni->n", rows, found)
    usable = shared > own / 2
    factor = np.where(usable, own / np.where(usable, shared, 1), 1).astype(np.float32)
    return replace(blocks, scales=blocks.scales * factor[:, None])
