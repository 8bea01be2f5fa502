"""Changes what a decoder's cache is stored as, in a graph that is written already.

GroupQueryAttention reads and writes whole numbers itself, by scales that are weights of the graph:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
A cache of float16 it reads as it is only where its queries are float16 as well: CUDA has no kernel
for others, and the CPU's converts the whole buffer at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir

from triptych.core.graphs.header import PROMPT_TOKENS
from triptych.core.ports import Array
from triptych.export.kv_cache.form import CacheForm, CacheFormError
from triptych.export.kv_cache.prompts import END_TOKENS, split_prompts

OPERATOR = "GroupQueryAttention"
# Where the operator has the new tokens, its past and present tensors, and its scales.
NEW, PAST, PRESENT, SCALES = (0, 1, 2), (3, 4), (1, 2), (12, 13)
# What was not seen while measuring may be larger. Eight bits have room for that, four have none.
MARGINS: Mapping[int, float] = {8: 1.5, 4: 1.05}

Grain = Literal["channel", "tensor"]


def store_cache(
    graph: Path,
    form: CacheForm,
    ranges: Mapping[str, Array] | None = None,
    *,
    grain: Grain = "channel",
) -> None:
    """Rewrites the decoder at `graph` so that its cache has another form.

    ranges: of each past tensor, as `cache_ranges` gives them; for whole numbers only. grain: one
    scale for each channel of each head, or one for all. Data files beside the graph stay as they
    are. Raises CacheFormError for a graph that cannot have the form.
    """
    model = ir.load(graph)
    nodes = [node for node in model.graph if node.op_type == OPERATOR]
    if not nodes:
        raise CacheFormError(f"{graph}: no {OPERATOR} in it, so its cache has the form it has.")
    for node in nodes:
        pasts = [node.inputs[at] for at in PAST]
        presents = [node.outputs[at] for at in PRESENT]
        for value in (*pasts, *presents):
            if value is not None:
                _declare(graph, value, form)
        if form.bits:
            _scale(graph, model.graph, node, form, ranges or {}, grain)
        if form.dtype == ir.DataType.FLOAT16:
            _compute_in_halves(model.graph, node)
    if form.dtype == ir.DataType.INT8:
        split_prompts(model.graph, nodes)
        model.metadata_props[PROMPT_TOKENS] = str(END_TOKENS)
    ir.save(model, graph)


def _declare(graph: Path, value: ir.Value, form: CacheForm) -> None:
    """Gives a past or present tensor [B, kv, max_len, head] its new dtype and width."""
    shape = value.shape
    if value.dtype != ir.DataType.FLOAT or shape is None or not isinstance(shape[-1], int):
        raise CacheFormError(
            f"{graph}: {value.name} is not a cache of float32 with a known head size. Start from "
            f"an export whose cache is fp32."
        )
    if shape[-1] % form.values:
        raise CacheFormError(
            f"{graph}: {value.name} has heads of {shape[-1]}; {form.name} wants an even number."
        )
    value.dtype = form.dtype
    value.shape = ir.Shape([*shape[:-1], shape[-1] // form.values])


def _compute_in_halves(whole: ir.Graph, node: ir.Node) -> None:
    """Lets attention compute in float16: the new tokens are cast, and what it says of them back."""
    for at in NEW:
        new = ir.Node(
            "", "Cast", [node.inputs[at]], [ir.AttrInt64("to", ir.DataType.FLOAT16)],
            name=f"{node.name}/Cast_{at}",
        )  # fmt: skip
        new.outputs[0].name = new.name
        whole.insert_before(node, new)
        node.replace_input_with(at, new.outputs[0])
    attended = node.outputs[0]
    back = ir.Node(
        "", "Cast", [attended], [ir.AttrInt64("to", ir.DataType.FLOAT)],
        name=f"{node.name}/Cast_back",
    )  # fmt: skip
    back.outputs[0].name = back.name
    attended.replace_all_uses_with(back.outputs[0])
    back.replace_input_with(0, attended)
    whole.insert_after(node, back)


def _scale(
    graph: Path,
    whole: ir.Graph,
    node: ir.Node,
    form: CacheForm,
    ranges: Mapping[str, Array],
    grain: Grain,
) -> None:
    node.resize_inputs(max(SCALES) + 1)
    for past, at in zip(PAST, SCALES, strict=True):
        value = node.inputs[past]
        name = (value.name or "") if value is not None else ""
        if name not in ranges:
            raise CacheFormError(
                f"{graph}: nothing is known of how large {name} becomes. Measure it with "
                f"cache_ranges."
            )
        largest = ranges[name].reshape(-1)
        if grain == "tensor":
            largest = largest.max(keepdims=True)
        # A channel that was always 0 may have any scale but 0.
        scales = np.where(largest > 0, largest, 1.0) * MARGINS[form.bits] / form.largest
        tensor = ir.Tensor(scales.astype(np.float32), name=f"{name}.scale")
        scale = ir.Value(
            name=tensor.name, shape=tensor.shape, type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )  # fmt: skip
        whole.register_initializer(scale)
        node.replace_input_with(at, scale)
    quantized = f"PER_{grain.upper()}"
    node.attributes["k_quant_type"] = ir.AttrString("k_quant_type", quantized)
    node.attributes["v_quant_type"] = ir.AttrString("v_quant_type", quantized)
    node.attributes["kv_cache_bit_width"] = ir.AttrInt64("kv_cache_bit_width", form.bits)
