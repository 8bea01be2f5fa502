"""A stage that runs in every step: what it is fed is worked out once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from triptych.core.cache import Binding
from triptych.core.execution.stage_call import Feed, Feeds, checked, run
from triptych.core.ports import Array
from triptych.core.wiring.wired import Wired

Check = Callable[[Wired, Mapping[str, Array]], None]
"""Raises where what a stage wrote, by the pipeline's names, does not fit."""


class PreparedCall:
    """How one stage is called in each of many steps that have the same shape.

    steady: what it is always fed; the arrays are the same, and what is in them changes.
    passed: what it reads of stages before it. cached: what its cache writes, by its own names.
    check: of what it wrote, beside its declaration.
    """

    def __init__(
        self,
        wired: Wired,
        steady: Mapping[str, Array],
        passed: Iterable[Feed],
        cached: Iterable[tuple[str, str]],
        check: Check | None = None,
    ) -> None:
        self.wired = wired
        self._steady = dict(steady)
        self._passed = [(feed, feed.name, feed.port) for feed in passed]
        self._cached = list(cached)
        self._check = check
        self._pasts: Mapping[str, Array] | None = None
        self._over_pasts: dict[str, Array] = {}
        # Of each output its own name, its port's, and the shape and dtype that were found right.
        self._right: list[tuple[str, str, tuple[int, ...], np.dtype[Any]]] = []

    def __call__(
        self, ports: Mapping[str, Array], binding: Binding | None = None
    ) -> dict[str, Array]:
        """Run the stage; what it wrote, by the pipeline's names.

        ports: what was written before, by the same. binding: of the cache that it keeps.
        Raises PluginError as `stage_call.call` does, and what the check raises.
        """
        given = run(
            self.wired, self._feeds(ports) if binding is None else self._over(ports, binding)
        )
        if not self._right or type(given) is not dict or len(given) != len(self._right):
            return self._checked(given)
        written: dict[str, Array] = {}
        for name, port, shape, dtype in self._right:
            value = given.get(name)
            # What is as it was when it was checked needs no check.
            if type(value) is not np.ndarray or value.shape != shape or value.dtype != dtype:
                return self._checked(given)
            written[port] = value
        return written

    def _feeds(self, ports: Mapping[str, Array]) -> dict[str, Array]:
        """What the stage is fed, by its own names."""
        feeds = self._steady.copy()
        for feed, name, port in self._passed:
            feeds[name] = feed.of(ports[port])
        return feeds

    def _over(self, ports: Mapping[str, Array], binding: Binding) -> Mapping[str, Array]:
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

    def _checked(self, given: Any) -> dict[str, Array]:
        """What the stage gave, checked, and noted where all of it is right as it is."""
        self._right = []
        written = checked(self.wired, given)
        if self._check is not None:
            self._check(self.wired, written)
        right = [
            (write.name, write.port.name, value.shape, value.dtype)
            for write in self.wired.writes
            if (value := written.get(write.port.name)) is not None and value is given[write.name]
        ]
        if len(right) == len(written):
            self._right = right
        return written


def prepare(
    stages: Iterable[Wired],
    feeds: Feeds,
    known: Collection[str],
    lengths: Mapping[str, int],
    steady: Callable[[Feed], Array],
    check: Check | None = None,
) -> list[PreparedCall]:
    """The calls of those stages that run where `known` ports are there.

    lengths: of the axes that vary. steady: the array for what a stage reads of `known`.
    check: of what each of them writes.
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
        calls.append(PreparedCall(wired, always, passed, cached, check))
        written.update([write.port.name for write in wired.writes])
    return calls
