"""Checkpoints that are quantized already: GPTQ, AWQ and compressed-tensors.

Their codes, scales and zeros are those of `MatMulNBits`, in other orders. They are put in order
and never become floats, unless the graphs are to have floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from triptych.export.packed.awq import awq_weight
from triptych.export.packed.compressed import compressed_weight
from triptych.export.packed.gptq import gptq_weight
from triptych.export.packed.plan import PackedError, Plan

if TYPE_CHECKING:
    from triptych.export.checkpoint import Weight

# By quant_method: the tensor that a quantized layer has in place of its weight, and its reader.
LAYOUTS = {
    "gptq": (".qweight", gptq_weight),
    "awq": (".qweight", awq_weight),
    "compressed-tensors": (".weight_packed", compressed_weight),
}


def packed_weights(
    tensors: Mapping[str, Weight], config: Mapping[str, Any], place: str
) -> dict[str, Weight]:
    """The weights that a `quantization_config` says are packed, by the names of whole ones.

    tensors: all of the checkpoint. place: its config.json, for messages. Raises PackedError for a
    method or a variant that cannot be read.
    """
    method = str(config.get("quant_method"))
    if method not in LAYOUTS:
        raise PackedError(
            f"{place}: quantization_config.quant_method is {method!r}; read are "
            f"{', '.join(LAYOUTS)}. Export the checkpoint that this one was made from instead."
        )
    ending, read = LAYOUTS[method]
    plan = Plan.of(config, place)
    layers = [name.removesuffix(ending) for name in tensors if name.endswith(ending)]
    return {f"{layer}.weight": read(layer, tensors, plan) for layer in layers}
