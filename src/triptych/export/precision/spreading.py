"""Rotations that spread what is large in a few channels over their neighbours.

Of a vision encoder's channels a few may be ten or a hundred times as large as the others
(arXiv 2402.17762). Where all of a token's values share one scale, the others are then lost. Both
factors of a product may be rotated alike without changing it, and a rotated token has no such
channels (QuaRot, arXiv 2404.00456).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from triptych.core.ports import Array

LARGEST_GROUP = 32
"""Values that are mixed with each other. Larger groups cost more and spread hardly better."""


@cache
def spreading(columns: int) -> Array:
    """The rotation f32 [n, n] of each n neighbours of rows of so many values; n divides them.

    A Hadamard matrix, whose columns all have the same magnitudes. The signs of its rows are those
    of a bent function (Rothaus 1976): a value that all channels share, such as the mean of what
    GELU gives, would otherwise gather in the first place of each group.
    """
    size = min(LARGEST_GROUP, columns & -columns)
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    bits = np.arange(size)[:, None] >> np.arange(4) & 1
    signs = 1 - 2 * ((bits[:, 0] & bits[:, 1]) ^ (bits[:, 2] & bits[:, 3]))
    rotation: Array = (signs[:, None] * matrix / np.sqrt(size)).astype(np.float32)
    rotation.flags.writeable = False
    return rotation


def spread(rows: Array) -> Array:
    """Rows f32 [n, K], each group of neighbours rotated."""
    rotation = spreading(rows.shape[1])
    turned: Array = (rows.reshape(-1, len(rotation)) @ rotation).reshape(rows.shape)
    return turned


def gathered(rows: Array) -> Array:
    """The inverse of `spread`."""
    rotation = spreading(rows.shape[1])
    turned: Array = (rows.reshape(-1, len(rotation)) @ rotation.T).reshape(rows.shape)
    return turned
