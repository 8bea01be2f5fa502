"""compressed-tensors' `pack-quantized`, as llm-compressor writes it.

`weight_packed` i32 [N, K / 8] packs inputs, of codes that begin at zero; `weight_scale`
[N, groups]; `weight_zero_point` i32 [N / 8, groups], packed along the outputs, where not symmetric;
`weight_shape` i64 [2].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from triptych.export.packed.codes import WORD_BITS, Rows, packed_blocks, unpack
from triptych.export.packed.plan import PackedError, Plan
from triptych.export.packed.tensors import packed_tensor, whole

if TYPE_CHECKING:
    from triptych.export.checkpoint import Weight


def compressed_weight(layer: str, tensors: Mapping[str, Weight], plan: Plan) -> Weight:
    """The weight of a layer. Raises PackedError."""
    words, scales, shape = (
        packed_tensor(tensors, f"{layer}.weight_{name}", plan)
        for name in ("packed", "scale", "shape")
    )
    order = tensors.get(f"{layer}.weight_g_idx")
    rows, columns = (int(side) for side in shape.read())
    if order is not None and not np.array_equal(
        order.read(), np.arange(columns) // (plan.group or columns)
    ):
        raise PackedError(
            f"{plan.place}: {layer} was quantized with an actorder that mixes groups, which is not "
            f"read. Export the checkpoint that this one was made from."
        )
    per_word = WORD_BITS // plan.bits
    zero_words = (
        None if plan.symmetric else packed_tensor(tensors, f"{layer}.weight_zero_point", plan)
    )

    def read(span: slice) -> Rows:
        codes = unpack(np.ascontiguousarray(words.read()[span]), plan.bits)[:, :columns]
        found = scales.read()[span].astype(np.float32)
        if zero_words is None:
            return codes, found, None
        first, last = span.start // per_word, -(-span.stop // per_word)
        inside = slice(span.start - first * per_word, span.stop - first * per_word)
        zeros = unpack(np.ascontiguousarray(zero_words.read()[first:last].T), plan.bits)
        return codes, found, np.ascontiguousarray(zeros.T[inside])

    return whole(layer, packed_blocks("compressed-tensors", layer, (rows, columns), plan, read))
