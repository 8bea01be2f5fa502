"""Rotary position embedding, shared by vision encoders and decoders.

Angles are computed in the graph for the very tokens at hand and handed to RotaryEmbedding as
a cache of that many rows. A cache by position would hold 262,144 rows for a published
checkpoint, and bound the positions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from triptych.export.builder import GraphBuilder


def inverse_frequencies(theta: float, dim: int) -> npt.NDArray[np.float32]:
    """Gives theta ** -(2i / dim), f32 [dim / 2].

    Rounded where transformers rounds; torch's own power may differ in the last bit.
    """
    exponents = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
    powers = np.power(np.float64(theta), exponents.astype(np.float64)).astype(np.float32)
    return np.float32(1.0) / powers


class Rotary:
    """Rotates queries and keys by the same angles.

    angles: f32 [rows, head / 2]; rows: i64 [B, S], the row of each token; scaling: what cosine
    and sine are multiplied by.
    """

    def __init__(
        self, graph: GraphBuilder, angles: ir.Value, rows: ir.Value, *, scaling: float = 1.0
    ) -> None:
        self._cos, self._sin = graph.op("Cos", angles), graph.op("Sin", angles)
        if scaling != 1.0:
            factor = graph.constant(scaling, np.float32)
            self._cos, self._sin = (
                graph.op("Mul", self._cos, factor),
                graph.op("Mul", self._sin, factor),
            )
        self._rows = rows

    def __call__(
        self, graph: GraphBuilder, x: ir.Value, heads: int, *, start: ir.Value | None = None
    ) -> ir.Value:
        """Rotates x f32 [B, S, heads * head], each head's first half paired with its second.

        start: i64 [1], where the tokens of x have consecutive rows: that of the first.
        """
        rows = self._rows if start is None else start
        return graph.microsoft("RotaryEmbedding", x, rows, self._cos, self._sin, num_heads=heads)
