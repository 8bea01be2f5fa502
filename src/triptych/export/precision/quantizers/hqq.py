"""Half-quadratic quantization: scales and zeros that suit most values of a block, not its extremes.

Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023
(https://mobiusml.github.io/hqq_blog/). The error of a block is measured as the sum of |error|^p
with p below 1, which forgives a few large errors. Two steps alternate: the errors that are to be
forgiven are found in closed form (a generalised soft threshold), then what remains is fitted by
least squares. No data is needed.

Three things differ from the publication. Zeros are whole numbers, as the operators' fast kernels
want them, so the scale is fitted, too. Errors are measured in steps of the block's scale, so that
the threshold means the same for every weight. And of all candidates a block keeps the best, round
to nearest among them.
"""

from __future__ import annotations

import numpy as np

from triptych.core.ports import Array
from triptych.export.precision.blocks import BlockFormat, Blocks, cut
from triptych.export.precision.quantizers.rtn import nearest, ranges

STEPS = 10
# The weight of the quadratic term at first, and how much it grows with each step.
BETA, GROWTH = 2.0, 1.1


def hqq(rows: Array, form: BlockFormat) -> Blocks:
    """Rows f32 [n, K] as blocks; no block is worse than `rtn` makes it by `block_errors`."""
    values = cut(rows, form.size)
    scales, zeros = ranges(values, form)
    codes = nearest(values, scales, zeros, form)
    best, best_scales, best_zeros = np.full(scales.shape, np.inf, np.float32), scales, zeros
    beta = BETA
    for _ in range(STEPS):
        steps = codes - zeros[..., None]
        errors = values - steps * scales[..., None]
        found = block_errors(errors)
        better = found < best
        if not better.any():
            break
        best = np.where(better, found, best)
        best_scales, best_zeros = (
            np.where(better, scales, best_scales),
            np.where(better, zeros, best_zeros),
        )
        wanted = values - _forgiven(errors, scales, beta)
        if not form.symmetric:
            zeros = np.rint((codes - wanted / scales[..., None]).mean(axis=-1))
            zeros = np.clip(zeros, 0, form.largest)
            steps = codes - zeros[..., None]
        scales = _fitted(wanted, steps, scales)
        codes = nearest(values, scales, zeros, form)
        beta *= GROWTH
    codes = nearest(values, best_scales, best_zeros, form).astype(np.uint8)
    stored = None if form.symmetric else best_zeros.astype(np.uint8)
    return Blocks(form, rows.shape[1], codes, best_scales, stored)


def block_errors(errors: Array) -> Array:
    """The sum of |error|^0.75 over each block: f32 [..., blocks] of f32 [..., blocks, size]."""
    total: Array = _power(np.abs(errors)).sum(axis=-1, dtype=np.float32)
    return total


def _power(values: Array) -> Array:
    """values^0.75. The publication has 0.7; this one is made of square roots, which are fast."""
    root = np.sqrt(values)
    return root * np.sqrt(root)


def _forgiven(errors: Array, scales: Array, beta: float) -> Array:
    """The part of each error that is not fitted: the proximal operator of |error|^p."""
    size = np.abs(errors / scales[..., None])
    kept = size - _power(size) / (np.maximum(size, 1e-6) * beta)
    return np.sign(errors) * np.maximum(kept, 0) * np.abs(scales)[..., None]


def _fitted(wanted: Array, steps: Array, scales: Array) -> Array:
    """The scales that bring steps nearest to what is wanted, by least squares."""
    squares = np.einsum("...i,...i->...", steps, steps)
    products = np.einsum("...i,...i->...", steps, wanted)
    usable = (squares > 0) & (np.abs(products) > np.finfo(np.float32).tiny)
    return np.where(usable, products / np.where(usable, squares, 1), scales).astype(np.float32)
