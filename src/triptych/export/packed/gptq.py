"""GPTQ (arXiv 2210.17323), as AutoGPTQ and GPTQModel write it.

`qweight` i32 [K / 8, N] packs inputs, `qzeros` i32 [groups, N / 8] outputs, `scales` f16
[groups, N]; `g_idx` i32 [K] is the group of each input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from triptych.export.packed.codes import WORD_BITS, Rows, packed_blocks, unpack
from triptych.export.packed.plan import PackedError, Plan
from triptych.export.packed.tensors import packed_tensor, whole

if TYPE_CHECKING:
    from triptych.export.checkpoint import Weight


def gptq_weight(layer: str, tensors: Mapping[str, Weight], plan: Plan) -> Weight:
    """The weight of a layer. Raises PackedError."""
    words, zero_words, scales = (
        packed_tensor(tensors, f"{layer}.{name}", plan) for name in ("qweight", "qzeros", "scales")
    )
    # What is symmetric here has zeros nevertheless.
    plan = replace(plan, symmetric=False)
    per_word = WORD_BITS // plan.bits
    rows, columns = words.shape[1], words.shape[0] * per_word
    _refuse_order(layer, tensors, plan, columns)

    def read(span: slice) -> Rows:
        # A word of zeros holds those of several outputs.
        first = span.start // per_word
        last = -(-span.stop // per_word)
        zeros = unpack(np.ascontiguousarray(zero_words.read()[:, first:last]), plan.bits)
        zeros = zeros[:, span.start - first * per_word :][:, : span.stop - span.start]
        codes = unpack(np.ascontiguousarray(words.read()[:, span].T), plan.bits)
        found = scales.read()[:, span].T.astype(np.float32)
        largest = 2**plan.bits - 1
        return codes, found, np.ascontiguousarray((zeros.T + plan.zero_offset) & largest, np.uint8)

    return whole(layer, packed_blocks("gptq", layer, (rows, columns), plan, read))


def _refuse_order(layer: str, tensors: Mapping[str, Weight], plan: Plan, columns: int) -> None:
    """Inputs that were sorted by their importance do not lie in blocks."""
    order = tensors.get(f"{layer}.g_idx")
    if order is None:
        return
    groups = np.arange(columns) // (plan.group or columns)
    if not np.array_equal(order.read(), groups):
        raise PackedError(
            f"{plan.place}: {layer} was quantized with desc_act, in groups of inputs that do not "
            f"follow each other, which is not read. Export the checkpoint that this one was made "
            f"from, or one without desc_act."
        )
