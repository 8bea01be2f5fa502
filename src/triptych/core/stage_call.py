"""One call of a stage: what it is fed, and what it wrote, checked against its declaration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from triptych.core.errors import PluginError, TriptychError
from triptych.core.ports import Array, Port, same_dtype
from triptych.core.wired import CACHE_PORTS, Read, Wired


class Feeds:
    """Makes what stages read. sizes: the number that each axis letter stands for."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._fills: dict[Port, Array] = {}

    def of(
        self, wired: Wired, ports: Mapping[str, Array], lengths: Mapping[str, int]
    ) -> dict[str, Array] | None:
        """What the stage reads, by its own names; None when it is to be skipped.

        ports: by the pipeline's names. lengths: of the axes that vary from call to call. What the
        stage's cache writes is left out.
        """
        feeds: dict[str, Array] = {}
        for read in wired.reads:
            value = ports.get(read.port.name)
            if value is not None:
                axis = read.batch_axis
                feeds[read.name] = value if axis is None else np.expand_dims(value, axis)
            elif read.port.absent is not None:
                feeds[read.name] = self._fill(read.port, lengths)
            elif not _is_cached(wired, read):
                return None
        return feeds

    def _fill(self, port: Port, lengths: Mapping[str, int]) -> Array:
        """What stands for a port that was not written; the one of the last call, if it fits."""
        known = {**self._sizes, **lengths}
        shape = tuple(axis if isinstance(axis, int) else known.get(axis, 1) for axis in port.axes)
        filled = self._fills.get(port)
        if filled is None or filled.shape != shape:
            dtype = "float32" if port.dtype == "float" else port.dtype
            filled = self._fills[port] = np.full(shape, port.absent, dtype)
            filled.flags.writeable = False
        return filled


def call(wired: Wired, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a stage; its outputs by the pipeline's names.

    Raises PluginError when it raises, or writes other ports, axes or dtypes than it declares.
    """
    try:
        given: Any = wired.stage(_cast(wired, feeds))
    except TriptychError:
        raise
    except Exception as cause:
        raise PluginError(f"stage {wired.label} raised {type(cause).__name__}: {cause}") from cause
    declared = {write.name for write in wired.writes}
    if not isinstance(given, Mapping) or set(given) != declared:
        wrote = sorted(given) if isinstance(given, Mapping) else type(given).__name__
        raise PluginError(f"stage {wired.label} wrote {wrote}, but declares {sorted(declared)}")
    written: dict[str, Array] = {}
    for write in wired.writes:
        value = given[write.name]
        if not isinstance(value, np.ndarray):
            value = _foreign(wired, write.name, value)
        port = write.port
        if write.cast is not None and value.dtype.name == write.cast:
            value = value.astype(port.dtype, copy=False)
        if value.ndim != len(port.axes) or not same_dtype(value.dtype.name, port.dtype):
            raise PluginError(
                f"stage {wired.label} wrote {write.name!r} as {value.dtype} {list(value.shape)}, "
                f"but declares {port}"
            )
        written[port.name] = value
    return written


def _cast(wired: Wired, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
    """What is fed in the stage's own dtypes, where its item's `ports` gave it others."""
    others = {
        read.name: feeds[read.name].astype(read.cast, copy=False)
        for read in wired.reads
        if read.cast is not None
    }
    return {**feeds, **others} if others else feeds


def _is_cached(wired: Wired, read: Read) -> bool:
    """Whether the stage's cache writes what it reads here."""
    pairs = wired.stage.cache_pairs
    return read.name in {pair.past.name for pair in pairs} or (
        bool(pairs) and read.port.name in {port.name for port in CACHE_PORTS}
    )


def _foreign(wired: Wired, name: str, value: Any) -> Array:
    """Another library's tensor as a numpy array, without a copy."""
    try:
        return np.from_dlpack(value)
    except Exception as cause:
        raise PluginError(
            f"stage {wired.label} wrote {name!r} as {type(value).__name__}; a numpy array is "
            "needed, or a tensor in the memory of the CPU with __dlpack__"
        ) from cause
