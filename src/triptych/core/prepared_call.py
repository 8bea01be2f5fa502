"""A stage that runs in every step: what it is fed is worked out once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

from triptych.core.cache import Binding
from triptych.core.ports import Array
from triptych.core.stage_call import Feed, Feeds
from triptych.core.wired import Wired


class PreparedCall:
    """How one stage is fed in each of many calls that have the same shape.

    steady: what it is always fed; the arrays are the same, and what is in them changes.
    passed: what it reads of stages before it. cached: what its cache writes, by its own names.
    """

    def __init__(
        self,
        wired: Wired,
        steady: Mapping[str, Array],
        passed: Iterable[Feed],
        cached: Iterable[tuple[str, str]],
    ) -> None:
        self.wired = wired
        self._steady = dict(steady)
        self._passed = [(feed, feed.name, feed.port) for feed in passed]
        self._cached = list(cached)
        self._pasts: Mapping[str, Array] | None = None
        self._over_pasts: dict[str, Array] = {}

    def feeds(self, ports: Mapping[str, Array]) -> dict[str, Array]:
        """What the stage is fed, by its own names. ports: what was written, by the pipeline's."""
        feeds = self._steady.copy()
        for feed, name, port in self._passed:
            feeds[name] = feed.of(ports[port])
        return feeds

    def feeds_over(self, ports: Mapping[str, Array], binding: Binding) -> Mapping[str, Array]:
        """The same of a stage that keeps a cache; not to be written to.

        Past tensors, of which there are many, stay where they are from call to call.
        """
        feeds = self._over_pasts
        if binding.pasts is not self._pasts:
            feeds = self._over_pasts = {**self._steady, **binding.pasts}
            self._pasts = binding.pasts
        for feed, name, port in self._passed:
            feeds[name] = feed.of(ports[port])
        for name, port in self._cached:
            if port in binding.ports:
                feeds[name] = binding.ports[port]
        return MappingProxyType(feeds)


def prepare(
    stages: Iterable[Wired],
    feeds: Feeds,
    known: Collection[str],
    lengths: Mapping[str, int],
    steady: Callable[[Feed], Array],
) -> list[PreparedCall]:
    """The calls of those stages that run where `known` ports are there.

    lengths: of the axes that vary. steady: the array for what a stage reads of `known`.
    """
    calls: list[PreparedCall] = []
    written = set[str]()
    for wired in stages:
        plan = feeds.plan(wired)
        if not written.union(known).issuperset(plan.required):
            continue
        always: dict[str, Array] = {}
        passed: list[Feed] = []
        cached: list[tuple[str, str]] = []
        for feed in plan.feeds:
            if feed.cached:
                cached.append((feed.name, feed.port))
            elif feed.port in written:
                passed.append(feed)
            elif feed.port in known:
                always[feed.name] = steady(feed)
            elif feed.fill is not None:
                always[feed.name] = feed.fill.of(lengths)
        calls.append(PreparedCall(wired, always, passed, cached))
        written.update([write.port.name for write in wired.writes])
    return calls
