"""An ONNX graph and its runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.core.graphs.binding import GraphBinding, Output
from triptych.core.graphs.device import DEVICES, Device
from triptych.core.graphs.errors import GraphError
from triptych.core.graphs.files import GraphFiles
from triptych.core.graphs.head_start import open_graph
from triptych.core.graphs.header import read_header
from triptych.core.graphs.providers import PROVIDERS
from triptych.core.graphs.session import check_session
from triptych.core.ports import Array, Port
from triptych.core.stages import Runtime

_NOT_IN_PLACE: Mapping[str, str] = {}

_NOTHING_AIMED: tuple[object, object] = (None, None)

_MOST_BINDINGS = 64
"""Bindings that a graph keeps: as many slots' buffers. The least recently used one goes."""


class Graph:
    """One ONNX file: its ports at once, its weights after `load`."""

    def __init__(self, path: Path) -> None:
        """Read the declared ports of `path`. Raises GraphFileError."""
        header = read_header(path)
        self.path = path
        self.inputs: tuple[Port, ...] = header.inputs
        self.outputs: tuple[Port, ...] = tuple(
            replace(port, on_demand=port.name in header.on_demand) for port in header.outputs
        )
        self.place: Device | None = None
        self._kept: frozenset[str] = frozenset()
        self._files = GraphFiles(path, tuple(sorted(header.external)), header.external_tensors)
        self._runtime = Runtime()
        self.prompt_tokens = header.prompt_tokens
        self._unwanted = header.on_demand & {port.name for port in header.outputs}
        self._session: Any = None
        self._opening = threading.Lock()
        self._names = tuple(port.name for port in self.inputs)
        self._outputs = {port.name: Output(port, self.inputs) for port in self.outputs}
        self._shaping = set[str]().union(*[output.sources for output in self._outputs.values()])
        self._wanted: dict[tuple[str, ...], list[Output]] = {}
        self._aimed = _NOTHING_AIMED
        self._bindings: OrderedDict[int, tuple[Array | None, GraphBinding]] = OrderedDict()
        self._latest: tuple[Array | None, GraphBinding] | None = None

    def want(self, names: Iterable[str]) -> None:
        """Compute these outputs on demand, too. A session that does not is made anew.

        Raises GraphError where that would lose what a device has in its memory.
        """
        unwanted = self._unwanted.difference(names)
        if unwanted == self._unwanted:
            return
        if self._session is not None and self.device != "cpu":
            raise GraphError(
                f"{self.path}: {', '.join(sorted(self._unwanted - unwanted))} was not asked for "
                f"when the graph was opened on {self.device}; name it in a component's needs"
            )
        self._unwanted = unwanted
        self._session, self._latest, self._aimed = None, None, _NOTHING_AIMED
        self._bindings.clear()

    def load(self, runtime: Runtime) -> None:
        """Make the session, or see that it can be made. Raises GraphError and SessionError.

        A graph of much weight is only looked at where `runtime` says `on_demand`; it is opened by
        its first run.
        """
        self._runtime = runtime
        if runtime.on_demand and self._files.is_large():
            check_session(self._files, runtime)
            first = runtime.providers[0]
            self.place = DEVICES.get(PROVIDERS.get(first, first))
        else:
            self.place = DEVICES.get(self.session.get_providers()[0])

    @property
    def device(self) -> str:
        """Where its session keeps tensors, known once it is loaded."""
        return "cpu" if self.place is None else self.place.name

    def keep_on_device(self, outputs: Collection[str]) -> None:
        """Give these outputs as arrays in the memory of `device` from now on."""
        self._kept = frozenset(outputs)
        self._wanted.clear()

    @property
    def session(self) -> Any:
        """The onnxruntime session; opened now if it is not yet."""
        if self._session is None:
            with self._opening:
                if self._session is None:
                    shared = self._runtime.shared
                    opened = open_graph if shared is None else shared.session
                    self._session = opened(self._files, self._runtime, without=self._unwanted)
        return self._session

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Run on `feeds`, one array per input; the named outputs, valid until the next run.

        Raises GraphError.
        """
        return self._run(feeds, outputs, _NOT_IN_PLACE)

    def run_in_place(
        self, feeds: Mapping[str, Array], presents: Mapping[str, str], outputs: Sequence[str]
    ) -> dict[str, Array]:
        """`run` with each past buffer as its present, too, so that nothing is copied.

        presents: the output that extends each past input. The buffers of one sequence stay
        the same from run to run; they are bound again only when they are others.
        """
        return self._run(feeds, outputs, presents)

    def _run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str], presents: Mapping[str, str]
    ) -> dict[str, Array]:
        names = tuple(outputs)
        wanted = self._wanted.get(names)
        if wanted is None:
            wanted = [self._outputs[name] for name in names if name not in self._kept]
            self._wanted[names] = wanted
        binding = self._binding(feeds, presents)
        try:
            reshaped = binding.take(feeds)
            if reshaped or self._aimed[0] is not binding or self._aimed[1] is not wanted:
                self._aim(binding, wanted, feeds)
            try:
                return binding.run(wanted, self._kept)
            except Exception:
                if all(output.memory is None for output in wanted):
                    raise
                # An output may have another shape than its axes tell.
                for output in wanted:
                    output.distrust()
                self._aim(binding, wanted, feeds)
                return binding.run(wanted, self._kept)
        except Exception as cause:
            self._aimed = _NOTHING_AIMED
            raise self._failure(feeds, cause) from cause
        finally:
            binding.let_go()

    def _aim(self, binding: GraphBinding, wanted: list[Output], feeds: Mapping[str, Array]) -> None:
        """Say where the next runs write to; where all have memory, until a shape is another."""
        for output in wanted:
            output.prepare(feeds)
            binding.aim(output)
        steady = all(output.memory is not None for output in wanted)
        self._aimed = (binding, wanted) if steady else _NOTHING_AIMED

    def _binding(self, feeds: Mapping[str, Array], presents: Mapping[str, str]) -> GraphBinding:
        """The binding of these pasts. It holds the buffers, so no other can have their ids."""
        first = feeds[next(iter(presents))] if presents else None
        if self._latest is not None and self._latest[0] is first:
            return self._latest[1]
        known = self._bindings.get(id(first))
        if known is not None:
            self._bindings.move_to_end(id(first))
            self._latest = known
            return known[1]
        binding = GraphBinding(
            self.session, self.place, self._names, presents, feeds, self._shaping
        )
        self._bindings[id(first)] = self._latest = (first, binding)
        if len(self._bindings) > _MOST_BINDINGS:
            self._bindings.popitem(last=False)
        return binding

    def _failure(self, feeds: Mapping[str, Array], cause: Exception) -> GraphError:
        shapes = ", ".join(
            f"{name} {value.dtype} {list(value.shape)}" for name, value in feeds.items()
        )
        return GraphError(f"{self.path}: ONNX Runtime failed on {shapes}: {cause}")
