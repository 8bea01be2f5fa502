"""GPTQ: codes that leave a layer's outputs as they were, on inputs that it was seen with.

Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", 2022 (arXiv 2210.17323), section 3.3. Columns are rounded from left to
right; what one is off by is made up for in those that are still to come, as far as their inputs
are correlated with its own. Each block's scale and zero are those of round to nearest, chosen from
the weights as they are when its first column's turn comes.
"""

from __future__ import annotations

import numpy as np

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.precision.blocks import BlockFormat, Blocks, cut
from triptych.export.precision.quantizers.rtn import nearest, ranges

DAMPING = 0.01
"""The share of its mean that is added to the Hessian's diagonal, as in the publication."""
# What is tried after that where float32 finds the matrix indefinite.
STRONGER = (0.1, 1.0)
# Columns whose errors reach the rest of the matrix in one product. Blocks of any size divide it.
COLUMNS = 128


class HessianError(TriptychError):
    """Inputs from which no Hessian can be made."""


def gptq(rows: Array, hessian: Array, form: BlockFormat) -> Blocks:
    """Rows f32 [n, K] as blocks, for inputs whose products, over all of them, are `hessian`.

    hessian: f32 [K, K], 2 X X^T of inputs X [K, tokens]; only its proportions count.
    Raises HessianError for one that is not finite.
    """
    count, columns = rows.shape
    factor = inverse_factor(hessian)
    # Columns lie side by side in memory, as each one's turn comes as a whole.
    values = np.array(rows.T, np.float32, order="C")
    blocks = form.blocks(columns)
    codes = np.empty((blocks * form.size, count), np.uint8)
    scales = np.empty((blocks, count), np.float32)
    zeros = np.empty((blocks, count), np.float32)
    for start in range(0, columns, COLUMNS):
        end = min(start + COLUMNS, columns)
        errors = np.empty((end - start, count), np.float32)
        for column in range(start, end):
            block, place = divmod(column, form.size)
            if place == 0:
                group = cut(values[column : min(column + form.size, end)].T, form.size)
                found = ranges(group, form)
                scales[block], zeros[block] = (each[:, 0] for each in found)
                codes[column : column + form.size] = zeros[block]
            code = nearest(values[column][:, None], scales[block], zeros[block], form)[:, 0]
            codes[column] = code
            off = values[column] - (code - zeros[block]) * scales[block]
            errors[column - start] = off / factor[column, column]
            rest = slice(column + 1, end)
            values[rest] -= np.multiply.outer(factor[column, rest], errors[column - start])
        values[end:] -= factor[start:end, end:].T @ errors
    return Blocks(
        form,
        columns,
        np.ascontiguousarray(codes.T).reshape(count, blocks, form.size),
        np.ascontiguousarray(scales.T),
        None if form.symmetric else np.ascontiguousarray(zeros.T.astype(np.uint8)),
    )


def inverse_factor(hessian: Array) -> Array:
    """The upper triangular U with U^T U the inverse of the damped Hessian: f32 [K, K].

    Raises HessianError.
    """
    diagonal = np.diagonal(hessian)
    if not np.isfinite(diagonal).all():
        raise HessianError("GPTQ: the inputs of a layer are not finite; is the checkpoint sound?")
    # Without any input, all columns count alike.
    mean = float(diagonal.mean()) or 1.0
    for damping in (DAMPING, *STRONGER):
        # With rows and columns in reverse order, a lower factor of H becomes an upper one, and the
        # inverse of that is U. This takes one factorization of H and none of its inverse.
        turned = hessian[::-1, ::-1].astype(np.float32)
        turned[np.diag_indices_from(turned)] += np.float32(damping * mean)
        try:
            lower = np.linalg.cholesky(turned)
        except np.linalg.LinAlgError:
            continue
        return np.ascontiguousarray(np.triu(np.linalg.inv(lower[::-1, ::-1])))
    raise HessianError("GPTQ: the inputs of a layer have no positive definite Hessian.")
