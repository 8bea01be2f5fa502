"""What a decoder reads of some prompts, as the stages before it make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx_ir as ir

from triptych.core.assembly import assemble
from triptych.core.catalog import Catalog
from triptych.core.clock import Clock
from triptych.core.config.load import load_spec
from triptych.core.execution import Executor
from triptych.core.ports import Array
from triptych.core.request import Request
from triptych.core.wired import Wired, Wiring
from triptych.export.builder import FLOAT, GraphBuilder


def decoder_inputs(
    folder: Path, requests: Iterable[Request], *, catalog: Catalog
) -> Iterator[dict[str, Array]]:
    """The inputs of the decoder by name, past tensors left out, for one prompt after another.

    folder: a pipeline whose decoder may be a `hollow` one. Prompts with pictures are left out for
    a model that takes none. Raises InputError for a request that the pipeline does not take.
    """
    assembly = assemble(load_spec(folder, catalog=catalog))
    loaded = assembly.load()
    found: list[dict[str, Array]] = []
    executor = Executor(
        _listening(loaded.wiring, found), loaded.offers, loaded.caches, loaded.max_length
    )
    for request in requests:
        if request.images and not loaded.offers:
            continue
        prompt = assembly.processor.prompt(request)
        sequence = executor.sequence()
        try:
            sequence.append(prompt.tokens, prompt.media)
            executor.enter(sequence, Clock())
            executor.forward(sequence, len(sequence), 1, Clock())
        finally:
            sequence.close()
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


class _Listening:
    """A stage whose inputs are written down; in all else it is the stage."""

    def __init__(self, wired: Wired, found: list[dict[str, Array]]) -> None:
        self._wired, self._found = wired, found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wired.stage, name)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        pasts = {pair.past.name for pair in self._wired.stage.cache_pairs}
        self._found.append(
            {name: _copied(value) for name, value in ports.items() if name not in pasts}
        )
        given: Mapping[str, Array] = self._wired.stage(ports)
        return given


def _copied(value: Any) -> Array:
    return np.array(value if isinstance(value, np.ndarray) else np.from_dlpack(value))


def _listening(wiring: Wiring, found: list[dict[str, Array]]) -> Wiring:
    def heard(wired: Wired) -> Wired:
        if not wired.stage.cache_pairs:
            return wired
        return replace(wired, stage=cast("Any", _Listening(wired, found)))

    return replace(wiring, span=tuple(map(heard, wiring.span)))


def _dtype(value: ir.Value) -> ir.DataType:
    return value.dtype or FLOAT


def _axes(value: ir.Value) -> list[int | str]:
    return [
        axis if isinstance(axis, int) else str(axis.value) for axis in (value.shape or ir.Shape([]))
    ]
