"""What a decoder reads of some prompts, as the stages before it make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from triptych.core.components.catalog import Catalog
from triptych.core.ports import Array
from triptych.core.request import Request
from triptych.core.stages import Stage
from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.listening import forward_prompts


def decoder_inputs(
    folder: Path, requests: Iterable[Request], *, catalog: Catalog
) -> Iterator[dict[str, Array]]:
    """The inputs of the decoder by name, past tensors left out, for one prompt after another.

    folder: a pipeline whose decoder may be a `hollow` one. Prompts with pictures are left out for
    a model that takes none. Raises InputError for a request that the pipeline does not take.
    """
    found: list[dict[str, Array]] = []

    def hear(stage: Stage, ports: Mapping[str, Array]) -> None:
        pasts = {pair.past.name for pair in stage.cache_pairs}
        found.append({name: _copied(value) for name, value in ports.items() if name not in pasts})

    for _ in forward_prompts(folder, requests, catalog=catalog, hear=hear):
        yield from found
        found.clear()


def hollow(decoder: ir.Model, leave: Iterable[str] = ()) -> ir.Model:
    """A graph with the ports of a decoder and nothing in it: logits are 0, the past stays.

    leave: the inputs that it should not have.
    """
    graph, dropped = GraphBuilder("decoder"), set(leave)
    inputs = {
        value.name or "": graph.input(value.name or "", _dtype(value), _axes(value))
        for value in decoder.graph.inputs
        if value.name not in dropped
    }
    for value in decoder.graph.outputs:
        name = value.name or ""
        past = inputs.get(name.replace("present", "past_key_values"))
        if past is not None:
            given = graph.op("Identity", past)
        else:
            rows = graph.op("Shape", inputs["logit_index"])
            given = graph.op(
                "ConstantOfShape",
                graph.op("Concat", rows, graph.constant([_axes(value)[-1]]), axis=0),
            )
        graph.output(name, given, _dtype(value), _axes(value))
    return graph.model()


def _copied(value: Any) -> Array:
    return np.array(value if isinstance(value, np.ndarray) else np.from_dlpack(value))


def _dtype(value: ir.Value) -> ir.DataType:
    return value.dtype or FLOAT


def _axes(value: ir.Value) -> list[int | str]:
    return [
        axis if isinstance(axis, int) else str(axis.value) for axis in (value.shape or ir.Shape([]))
    ]
