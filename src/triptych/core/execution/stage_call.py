"""One call of a stage: what it is fed, and what it wrote, checked against its declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.core.errors import PluginError, TriptychError
from triptych.core.graphs.device import DeviceArray
from triptych.core.ports import Array, Port, same_dtype
from triptych.core.wiring.wired import CACHE_PORTS, Read, Wired, Write


class Feeds:
    """Makes what stages read. sizes: the number that each axis letter stands for."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._plans: dict[int, FeedPlan] = {}

    def of(
        self, wired: Wired, ports: Mapping[str, Array], lengths: Mapping[str, int]
    ) -> dict[str, Array] | None:
        """What the stage reads, by its own names; None when it is to be skipped.

        ports: by the pipeline's names. lengths: of the axes that vary from call to call. What the
        stage's cache writes is left out.
        """
        plan = self.plan(wired)
        for name in plan.required:
            if name not in ports:
                return None
        feeds: dict[str, Array] = {}
        for feed in plan.feeds:
            value = ports.get(feed.port)
            if value is not None:
                feeds[feed.name] = feed.of(value)
            elif feed.fill is not None:
                feeds[feed.name] = feed.fill.of(lengths)
        return feeds

    def plan(self, wired: Wired) -> FeedPlan:
        """How the stage is fed, made once."""
        known = self._plans.get(id(wired))
        if known is None:
            pasts = {pair.past.name for pair in wired.stage.cache_pairs}
            feeds = [self._feed(wired, read) for read in wired.reads if read.name not in pasts]
            required = [feed.port for feed in feeds if feed.fill is None and not feed.cached]
            known = self._plans[id(wired)] = FeedPlan(wired, tuple(required), tuple(feeds))
        return known

    def _feed(self, wired: Wired, read: Read) -> Feed:
        port = read.port
        return Feed(
            read.name,
            port.name,
            read.batch_axis,
            None if port.absent is None else _Fill(port, self._sizes),
            bool(wired.stage.cache_pairs) and port.name in {known.name for known in CACHE_PORTS},
            wired,
        )


def _takes(wired: Wired, feed: Feed, value: DeviceArray) -> bool:
    """Whether a stage reads an array in the memory of a device where it is, and as it is."""
    there = getattr(wired.stage, "device", "cpu") == value.device.name
    return there and feed.batch_axis is None and feed.name not in wired.casts


@dataclass(frozen=True)
class FeedPlan:
    """How a stage is fed; it keeps the stage, so that no other one can have its id.

    required: the ports without which it is skipped.
    """

    wired: Wired
    required: tuple[str, ...]
    feeds: tuple[Feed, ...]


@dataclass(frozen=True)
class Feed:
    """How one input of a stage is fed.

    batch_axis: where B is inserted. fill: stands for what nobody wrote. cached: the stage's
    cache writes it. wired: the stage.
    """

    name: str
    port: str
    batch_axis: int | None
    fill: _Fill | None
    cached: bool
    wired: Wired

    def of(self, value: Any) -> Array:
        """What the stage is fed where the port is `value`."""
        if isinstance(value, DeviceArray) and not _takes(self.wired, self, value):
            value = value.numpy()
        axis = self.batch_axis
        fed: Array = value if axis is None else value[(*(slice(None),) * axis, None)]
        return fed


class _Fill:
    """What stands for a port that was not written; the one of the last call, if it fits."""

    def __init__(self, port: Port, sizes: Mapping[str, int]) -> None:
        self._port = port
        self._axes = [
            (axis, axis) if isinstance(axis, int) else (axis, sizes.get(axis, 1))
            for axis in port.axes
        ]
        self._filled = np.zeros(0)

    def of(self, lengths: Mapping[Any, int]) -> Array:
        shape = tuple([lengths.get(axis, usual) for axis, usual in self._axes])
        if self._filled.shape != shape:
            dtype = "float32" if self._port.dtype == "float" else self._port.dtype
            self._filled = np.full(shape, self._port.absent, dtype)
            self._filled.flags.writeable = False
        return self._filled


def call(wired: Wired, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a stage; its outputs by the pipeline's names.

    Raises PluginError when it raises, or writes other ports, axes or dtypes than it declares.
    """
    return checked(wired, run(wired, feeds))


def run(wired: Wired, feeds: Mapping[str, Array]) -> Any:
    """What a stage gives, as it gives it. Raises PluginError when it raises."""
    try:
        return wired.stage(_cast(wired, feeds) if wired.casts else feeds)
    except TriptychError:
        raise
    except Exception as cause:
        raise PluginError(f"stage {wired.label} raised {type(cause).__name__}: {cause}") from cause


def checked(wired: Wired, given: Any) -> dict[str, Array]:
    """What a stage gave, by the pipeline's names. Raises PluginError as `call` does."""
    if not isinstance(given, Mapping) or not wired.required <= given.keys() <= wired.declared:
        wrote = sorted(given) if isinstance(given, Mapping) else type(given).__name__
        declared = sorted(wired.declared)
        raise PluginError(f"stage {wired.label} wrote {wrote}, but declares {declared}")
    return {
        write.port.name: _checked(wired, write, given[write.name])
        for write in wired.writes
        if write.name in given
    }


def _checked(wired: Wired, write: Write, value: Any) -> Array:
    """What the stage wrote as the port has it."""
    if not isinstance(value, np.ndarray | DeviceArray):
        value = _foreign(wired, write.name, value)
    port = write.port
    if write.cast is not None and value.dtype.name == write.cast:
        value = value.astype(port.dtype, copy=False)
    if value.ndim != len(port.axes) or not same_dtype(value.dtype.name, port.dtype):
        raise PluginError(
            f"stage {wired.label} wrote {write.name!r} as {value.dtype} {list(value.shape)}, "
            f"but declares {port}"
        )
    made: Array = value
    return made


def _cast(wired: Wired, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
    """What is fed in the stage's own dtypes, where its item's `ports` gave it others."""
    others = {name: feeds[name].astype(dtype, copy=False) for name, dtype in wired.casts.items()}
    return {**feeds, **others}


def _foreign(wired: Wired, name: str, value: Any) -> Array:
    """Another library's tensor as a numpy array, without a copy."""
    try:
        return np.from_dlpack(value)
    except Exception as cause:
        raise PluginError(
            f"stage {wired.label} wrote {name!r} as {type(value).__name__}; a numpy array is "
            "needed, or a tensor in the memory of the CPU with __dlpack__"
        ) from cause
