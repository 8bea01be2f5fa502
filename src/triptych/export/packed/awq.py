"""AWQ (arXiv 2306.00978), as AutoAWQ writes it for its GEMM kernels.

`qweight` i32 [K, N / 8] and `qzeros` i32 [groups, N / 8] pack outputs, in an order of their own;
`scales` f16 [groups, N].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from triptych.core.ports import Array
from triptych.export.packed.codes import WORD_BITS, Rows, packed_blocks, unpack
from triptych.export.packed.plan import Plan, refuse
from triptych.export.packed.tensors import packed_tensor, whole

if TYPE_CHECKING:
    from triptych.export.checkpoint import Weight

BITS = 4
# Where each of eight neighboring outputs lies in its word.
ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


def awq_weight(layer: str, tensors: Mapping[str, Weight], plan: Plan) -> Weight:
    """The weight of a layer. Raises PackedError."""
    if plan.bits != BITS:
        refuse(plan.place, f"{plan.bits} bits", f"AWQ of {BITS} bits")
    words, zero_words, scales = (
        packed_tensor(tensors, f"{layer}.{name}", plan) for name in ("qweight", "qzeros", "scales")
    )
    plan = replace(plan, symmetric=False)
    per_word = WORD_BITS // BITS
    rows, columns = words.shape[1] * per_word, words.shape[0]

    def read(span: slice) -> Rows:
        first, last = span.start // per_word, -(-span.stop // per_word)
        inside = slice(span.start - first * per_word, span.stop - first * per_word)

        def unpacked(part: Weight) -> Array:
            some = np.ascontiguousarray(part.read()[:, first:last])
            return np.ascontiguousarray(unpack(some, BITS, order=ORDER).T[inside])

        found = scales.read()[:, span].T.astype(np.float32)
        return unpacked(words), found, unpacked(zero_words)

    return whole(layer, packed_blocks("awq", layer, (rows, columns), plan, read))
