"""A stage whose ports are those of an ONNX graph: what every graph in a pipeline is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from triptych.core.graph import Graph
from triptych.core.ports import Array, CachePair, Port, When
from triptych.core.stages import Runtime

_PAST = re.compile(r"past_key_values\.(?P<layer>\d+)\.(?P<part>\w+)")


class OnnxStage:
    """One graph as a stage. Ports, dtypes and axes are read from the file, weights are not.

    An input ``past_key_values.{i}.{part}`` with an output ``present.{i}.{part}`` is a cache
    pair. Port names and axes that follow another convention are corrected by the item's
    ``ports:``.
    """

    whole = False

    def __init__(
        self, graph: Path, *, when: When, absent: Mapping[str, float] | None = None
    ) -> None:
        """absent: the fill value of inputs that may go unwritten. Raises GraphFileError."""
        self.when = when
        self.graph = Graph(graph)
        self.cache_pairs = _cache_pairs(self.graph)
        fills = absent or {}
        self.reads: tuple[Port, ...] = tuple(
            replace(port, absent=fills.get(port.name)) for port in self.graph.inputs
        )
        self._presents = {pair.past.name: pair.present.name for pair in self.cache_pairs}
        presents = set(self._presents.values())
        self.writes: tuple[Port, ...] = tuple(
            port for port in self.graph.outputs if port.name not in presents
        )
        self._outputs = [port.name for port in self.writes]

    def load(self, runtime: Runtime) -> None:
        """Read the weights. Raises GraphError."""
        self.graph.load(runtime)

    @property
    def device(self) -> str:
        """Where the graph keeps its tensors, known once it is loaded: ``cpu`` or ``cuda``."""
        return self.graph.device

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run the graph; pasts are extended in place. Raises GraphError."""
        if self.cache_pairs:
            return self.graph.run_in_place(ports, self._presents, self._outputs)
        return self.graph.run(ports, self._outputs)


def _cache_pairs(graph: Graph) -> tuple[CachePair, ...]:
    outputs = {port.name: port for port in graph.outputs}
    pairs = []
    for port in graph.inputs:
        match = _PAST.fullmatch(port.name)
        present = outputs.get(f"present.{match['layer']}.{match['part']}") if match else None
        if match and present is not None:
            pairs.append(CachePair(port, present, int(match["layer"]), match["part"]))
    return tuple(pairs)
