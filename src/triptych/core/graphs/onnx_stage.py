"""A stage whose ports are those of an ONNX graph: what every graph in a pipeline is made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from triptych.core.errors import TriptychError
from triptych.core.graphs.cache_pairs import CacheTensors
from triptych.core.graphs.device import Device
from triptych.core.graphs.graph import Graph
from triptych.core.ports import Array, Port, When
from triptych.core.stages import Runtime

MASK = "attention_mask"
TOKENS = ("inputs_embeds", "input_ids")
"""By these inputs of a decoder the length of its past is told: [B, total] and [B, S, ...]."""

AS_THE_GRAPH_SAYS = CacheTensors()


class CacheFormError(TriptychError):
    """A graph whose past tensors cannot be fed in the form that it needs."""


class OnnxStage:
    """One graph as a stage. Ports, dtypes and axes are read from the file, weights are not.

    An input ``past_key_values.{i}.{part}`` with an output ``present.{i}.{part}`` is a cache
    pair, and so are those of other usual names. Port names and axes that follow another
    convention are corrected by the item's ``ports:``.
    """

    whole = False

    def __init__(
        self,
        graph: Path,
        *,
        when: When,
        absent: Mapping[str, float] | None = None,
        cache: CacheTensors = AS_THE_GRAPH_SAYS,
    ) -> None:
        """absent: the fill value of inputs that may go unwritten. cache: of its past tensors.

        Raises GraphFileError and CacheFormError.
        """
        self.when = when
        self.graph = Graph(graph)
        self.cache_pairs = cache.pairs(self.graph.inputs, self.graph.outputs)
        fills = absent or {}
        pasts = {pair.past.name: pair.past for pair in self.cache_pairs}
        self.reads: tuple[Port, ...] = tuple(
            pasts.get(port.name) or replace(port, absent=fills.get(port.name))
            for port in self.graph.inputs
        )
        self._presents = {pair.past.name: pair.present.name for pair in self.cache_pairs}
        presents = set(self._presents.values())
        self.writes: tuple[Port, ...] = tuple(
            port for port in self.graph.outputs if port.name not in presents
        )
        self._outputs = tuple(port.name for port in self.writes if not port.on_demand)
        self._grows = bool(self.cache_pairs) and cache.grow(self.cache_pairs)
        names = [port.name for port in self.graph.inputs]
        self._tokens = next((name for name in TOKENS if name in names), None)
        self._has_mask = MASK in names
        if self._grows:
            self._require_lengths("its past tensors grow")

    def load(self, runtime: Runtime) -> None:
        """Read the weights. Raises GraphError."""
        self.graph.load(runtime)

    def want(self, names: Collection[str]) -> None:
        """Compute these outputs, which are on demand, as well. Raises GraphError."""
        self._outputs += tuple(name for name in names if name not in self._outputs)
        self.graph.want(names)

    @property
    def device(self) -> str:
        """Where its tensors are kept, known once it is loaded: ``cpu`` or ``cuda``."""
        return "cpu" if self.place is None else self.place.name

    @property
    def place(self) -> Device | None:
        """The device whose memory it shares, known once it is loaded; None for the CPU's."""
        return None if self._grows else self.graph.place

    def keep_on_device(self, outputs: Collection[str]) -> None:
        """Write these outputs to arrays in the memory of `device`, once it is loaded."""
        self.graph.keep_on_device(outputs)

    @property
    def batches(self) -> bool:
        """Whether one run may extend the caches of several sequences, which differ in length."""
        return not self._grows

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run the graph; pasts are extended in place. Raises GraphError."""
        if self._grows:
            return self._run_growing(ports)
        if self.cache_pairs:
            return self.graph.run_in_place(ports, self._presents, self._outputs)
        return self.graph.run(ports, self._outputs)

    def lengths(self, ports: Mapping[str, Array]) -> tuple[int, int]:
        """How many tokens the cache has, and how many the slice has.

        ports: what the stage is called with. For graphs that passed `_require_lengths` alone.
        """
        tokens = ports[self._tokens or ""].shape[1]
        return ports[MASK].shape[1] - tokens, tokens

    def _require_lengths(self, why: str) -> None:
        """Raises CacheFormError unless `lengths` can be told."""
        if self._tokens is None or not self._has_mask:
            names = ", ".join(port.name for port in self.graph.inputs)
            raise CacheFormError(
                f"{self.graph.path}: {why}, so it must read {MASK!r} and one of "
                f"{' and '.join(map(repr, TOKENS))}, which tell how long they are; it reads {names}"
            )

    def _run_growing(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Feed exact-length pasts, and copy what was added to them into the cache's buffers."""
        past, tokens = self.lengths(ports)
        seen = {name: np.ascontiguousarray(ports[name][:, :, :past]) for name in self._presents}
        written = self.graph.run({**ports, **seen}, (*self._outputs, *self._presents.values()))
        for name, present in self._presents.items():
            ports[name][:, :, past : past + tokens] = written.pop(present)[:, :, -tokens:]
        return written
