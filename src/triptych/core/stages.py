"""The interface of a stage, and what it is given to load its weights with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from triptych.core.ports import Array, CachePair, Port, When

if TYPE_CHECKING:
    from triptych.core.assembly.shared import Shared


class Stage(Protocol):
    """Reads some ports, writes others; holds weights and settings, never per-request state.

    Making one declares its ports and reads no weights; those come with `Loadable.load`, which
    a stage may leave out.

    when: INPUT or SPAN.
    whole: must see the whole prompt: no chunking, no shared prefix.
    cache_pairs: past and present tensors, for a stage that keeps a cache; empty for most. Such
    a stage may have an attribute `cache`, a `CacheItem` of its settings, that says which policy
    it is; without one it is `full`.

    A stage that must see all visual rows of a medium may say ``every_row = True``: a reducer before
    it is then an error of the wiring.
    """

    when: When
    whole: bool
    reads: tuple[Port, ...]
    writes: tuple[Port, ...]
    cache_pairs: tuple[CachePair, ...]

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Called with exactly the declared reads and past tensors; returns the declared writes."""
        ...


@dataclass(frozen=True)
class Runtime:
    """How graphs are run.

    providers: execution providers in order of preference. threads: of the CPU; None: as many as
    there are cores. pool: whether sessions share one pool of threads.
    on_demand: a stage with much weight may wait with reading it until it is first called.
    graph_cache: keep optimised graphs on disk. shared: what other pipelines may have opened.
    """

    providers: Sequence[str] = ("cpu",)
    threads: int | None = None
    pool: Literal["shared", "own"] = "shared"
    on_demand: bool = False
    graph_cache: bool = True
    shared: Shared | None = field(default=None, repr=False, compare=False)


class Loadable(Protocol):
    """A stage with weights."""

    def load(self, runtime: Runtime) -> None:
        """Read the weights. Called once, after the wiring was checked, in a thread of its own.

        A graph that cannot be run is an error here, even where its weights are read later.
        """
        ...
