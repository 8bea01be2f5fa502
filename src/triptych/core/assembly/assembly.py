"""From a checked configuration to stages that run: built, wired, and only then loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from triptych.core.assembly.loading import Loading, begin_loading, finish_loading
from triptych.core.cache import Cache, CachePolicy, Watches
from triptych.core.config.build import part_of
from triptych.core.config.part import Part
from triptych.core.config.spec import PipelineSpec
from triptych.core.config_error import ConfigError
from triptych.core.dataclass import dataclass
from triptych.core.errors import TriptychError
from triptych.core.graphs.device import reserve_on
from triptych.core.observer import check_names
from triptych.core.ports import Port
from triptych.core.prompt import Processor
from triptych.core.sequences.feature_cache import FeatureCache
from triptych.core.stages import Runtime, Stage
from triptych.core.system.memory import give_back, reserve, share_heap
from triptych.core.wiring.cache_needs import Shown, find_shown
from triptych.core.wiring.needs import find_needed, needs_of
from triptych.core.wiring.wired import Wired, Wiring, port_names
from triptych.core.wiring.wiring import wire

if TYPE_CHECKING:
    from triptych.core.assembly.shared import Shared
    from triptych.core.execution.execution import Executor

DECLARED = ("when", "whole", "reads", "writes", "cache_pairs")
"""What every stage says of itself."""

LONGEST_DEFAULT = 32768
"""`session.max_context` where neither the file nor a shorter model says otherwise."""


@dataclass(frozen=True)
class Assembly:
    """A pipeline whose wiring holds; no weight has been read."""

    spec: PipelineSpec
    processor: Processor
    stages: tuple[tuple[Part, Stage], ...]
    wiring: Wiring
    policies: Mapping[str, CachePolicy]
    needs: tuple[Port, ...] = ()
    """Ports that the strategy and steps of the sampler need."""
    shown: Shown = field(default_factory=Shown)
    """Ports that cache policies need."""

    shared: Shared | None = None
    """What it has in common with other pipelines of this process."""

    _begun: list[Loading] = field(default_factory=list, repr=False, compare=False)

    @property
    def max_length(self) -> int:
        """The longest sequence, in tokens."""
        given = self.spec.session.max_context
        return given or min(self.processor.max_context or LONGEST_DEFAULT, LONGEST_DEFAULT)

    def begin(self, *, without: Collection[str] = ()) -> None:
        """Begin to read the weights, in threads that `load` waits for. Safe to call twice.

        without: labels of stages that somebody stands in for; theirs are not read.
        """
        if not self._begun:
            share_heap()
            self._begun.extend(
                begin_loading(
                    [
                        (part, stage, self._runtime(part.label))
                        for part, stage in self.stages
                        if part.label not in without
                    ]
                )
            )

    def load(self) -> Executor:
        """Read the weights and reserve the caches.

        Raises GraphError, or ConfigError at the place of a stage that fails.
        """
        self.begin()
        # Imported while the weights are being read.
        from triptych.core.execution.execution import Executor

        session = self.spec.session
        finish_loading(self._begun, meanwhile=getattr(self.processor, "load", _nothing))
        for part, stage in self.stages:
            self._check_device(part, stage)
        caches = self._make_caches(_memory_of)
        executor = Executor(
            self.wiring,
            tuple(self.processor.offers),
            caches,
            self.max_length,
            rows=session.max_batch,
            memory=session.cache_bytes,
            exact=all(policy.exact for policy in self.policies.values()),
            shown=self.shown,
            features=self._features(),
        )
        executor.need(self.needs)
        # Beside what comes next.
        threading.Thread(target=give_back, daemon=True).start()
        return executor

    def _features(self) -> FeatureCache:
        """Where results of stages that read only media are kept."""
        if self.shared is not None:
            return self.shared.features(self)
        return FeatureCache(int(self.spec.session.feature_cache))

    def check_chain(self) -> None:
        """Raises ConfigError where the strategy refuses the file's own chain.

        Loading does not: a request may have another one.
        """
        parts = self.spec.sampler
        check_chain(self.spec.strategy.make(), parts, [part.make() for part in parts])

    def alone_because(self) -> str | None:
        """Why generations will not be forwarded together; None where they will.

        Raises ConfigError as `check_caches` does.
        """
        from triptych.core.execution.batched_step import why_alone

        caches = self._make_caches(lambda _: reserve)
        return why_alone(self.wiring, caches, self.spec.session.max_batch)

    def check_caches(self) -> None:
        """Raises ConfigError where a policy cannot make a cache of its stage's tensors."""
        self._make_caches(lambda _: reserve)

    def _make_caches(
        self, memory_of: Callable[[Wired], Callable[[tuple[int, ...], str], Any]]
    ) -> dict[str, Cache[Any]]:
        """A cache for each stage that keeps one, by label; nothing is reserved yet."""
        wired = {one.label: one for one in self.wiring.stages}
        return {
            part.label: _cache(
                part,
                self.policies[part.label],
                wired[part.label],
                self.max_length,
                memory_of(wired[part.label]),
                watches=part.label in self.shown,
            )
            for part, stage in self.stages
            if stage.cache_pairs
        }

    def _runtime(self, label: str) -> Runtime:
        """How the stage of a label is run.

        What media alone reach waits with its weights for the first picture: many never come, and
        an image encoder is as large as a small decoder.
        """
        session = self.spec.session
        media = any(wired.per_media for wired in self.wiring.stages if wired.label == label)
        return Runtime(
            session.providers,
            None if session.threads == "auto" else session.threads,
            session.pool,
            on_demand=media and not session.preload,
            graph_cache=session.graph_cache,
            shared=self.shared,
        )

    def _check_device(self, part: Part, stage: Stage) -> None:
        """Refuse a cache that moves rows in the CPU's memory while the graph has them elsewhere."""
        device = getattr(stage, "device", "cpu")
        policy = self.policies.get(part.label)
        if device != "cpu" and policy is not None and not policy.exact:
            raise ConfigError(
                part.place("cache"),
                "the cache evicts rows in the memory of the CPU, and the graph keeps them on "
                f"{device}",
                hint="choose 'cache: full', or 'session.providers: [cpu]'",
            )


def assemble(spec: PipelineSpec, *, taps: Collection[str] = ()) -> Assembly:
    """Build every component and check how they fit.

    taps: names of ports that somebody looks at; they count as read. Raises InputError for one that
    is not there.
    Raises ConfigError where one cannot be built, where the wiring is wrong, and where the
    strategy speculates over a cache that is not exact.
    """
    processor: Processor = spec.processor.make()
    stages = tuple((part, _stage(part)) for part in spec.stages)
    wiring = wire(stages, offers=tuple(processor.offers), taps=taps)
    check_names(taps, port_names(wiring, processor.offers))
    keeping = [(part, stage) for part, stage in stages if stage.cache_pairs]
    policies = {part.label: cache_part(stage).make() for part, stage in keeping}
    _check_exactness(spec, policies)
    deciding = [(part, part.make()) for part in (spec.strategy, *spec.sampler)]
    needs = tuple(
        port
        for part, made in deciding
        for port in find_needed(part, needs_of(part.entry.load(), made), wiring)
    )
    placed = {wired.label: wired for wired in wiring.span}
    shown = Shown(
        {
            part.label: find_shown(
                part, policies[part.label], cache_part(stage).name, placed[part.label], wiring
            )
            for part, stage in keeping
        }
    )
    wiring.want(
        {
            *(port.name for port in needs),
            *shown.names,
            *(read.port.name for wired in wiring.stages for read in wired.reads),
            *taps,
        }
    )
    assembly = Assembly(spec, processor, stages, wiring, policies, needs, shown)
    assembly.check_caches()
    return assembly


def check_chain(strategy: object, parts: Sequence[Part], steps: Sequence[object]) -> None:
    """Raises ConfigError at the last item of a chain that a strategy refuses."""
    check = getattr(strategy, "check_chain", None)
    if check is None:
        return
    try:
        check(tuple(steps))
    except TriptychError as error:
        raise ConfigError(parts[-1].where, str(error), exit_code=error.exit_code) from error


def _cache(
    part: Part,
    policy: CachePolicy,
    wired: Wired,
    max_length: int,
    allocate: Callable[[tuple[int, ...], str], Any],
    *,
    watches: bool,
) -> Cache[Any]:
    """The cache of the stage that `part` stands for. Raises ConfigError at its `cache`."""
    name, place = cache_part(wired.stage).name, part.place("cache")
    try:
        cache: Cache[Any] = policy.make(wired.stage.cache_pairs, max_length, allocate)
    except TriptychError as error:
        raise ConfigError(place, str(error), exit_code=error.exit_code) from error
    except Exception as error:
        cause = f"{name} failed with {type(error).__name__}: {error}"
        raise ConfigError(place, cause, exit_code=1) from error
    if watches and not isinstance(cache, Watches):
        cause = f"{name} needs ports, and its cache has no method `observe(slots, seen)`"
        raise ConfigError(place, cause, exit_code=1)
    return cache


def _stage(part: Part) -> Stage:
    stage = part.make()
    lacks = [name for name in DECLARED if not hasattr(stage, name)]
    if not callable(stage):
        lacks.append("__call__")
    if lacks:
        cause = f"{part.name} is no stage: it has no {', '.join(lacks)}"
        hint = "a stage declares when, whole, reads, writes and cache_pairs, and can be called"
        raise ConfigError(part.where, cause, hint=hint, exit_code=1)
    if any(port.on_demand for port in stage.writes) and not hasattr(stage, "want"):
        cause = f"{part.name} writes ports on demand and has no method `want(names)`"
        raise ConfigError(part.where, cause, exit_code=1)
    made: Stage = stage
    return made


def cache_part(stage: Stage) -> Part:
    """The cache policy that a stage's item chose; `full` for a stage that leaves no choice."""
    chosen: Part | None = getattr(stage, "cache", None)
    return part_of("caches", "full", "cache") if chosen is None else chosen


def _check_exactness(spec: PipelineSpec, policies: Mapping[str, CachePolicy]) -> None:
    if spec.approximate or not getattr(spec.strategy.entry.load(), "speculates", False):
        return
    for label, policy in policies.items():
        if not policy.exact:
            raise ConfigError(
                spec.strategy.where,
                f"{spec.strategy.name} verifies several tokens in one pass, and with the cache of "
                f"{label} results depend on how tokens are split",
                hint="choose another strategy or cache, or say 'approximate: true'",
            )


def _memory_of(wired: Wired) -> Callable[[tuple[int, ...], str], Any]:
    """What reserves the past tensors of a stage, where it computes."""
    place = getattr(wired.stage, "place", None)
    return reserve if place is None else reserve_on(place)


def _nothing() -> None:
    """What a processor without `load` does while the stages are loaded."""
