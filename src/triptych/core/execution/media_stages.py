"""Stages that read only ports of media: run once for each item, their results kept by content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from triptych.core.errors import PluginError, TriptychError
from triptych.core.execution.stage_call import call
from triptych.core.ports import Array, Axis, Port
from triptych.core.prompt import Media, digest_bytes
from triptych.core.sequences.feature_cache import FeatureCache
from triptych.core.wiring.wired import MEDIA_AXES, Wired


class MediaStages:
    """Results of the stages that are `per_media`.

    stages: the INPUT stages in the order in which they run. features: where results are kept.
    """

    def __init__(self, stages: Sequence[Wired], features: FeatureCache) -> None:
        self._stages = tuple(stages)
        self._features = features

    def results(self, wired: Wired, media: Sequence[Media]) -> dict[str, Array]:
        """What a stage writes for all items, computed for those that are not known yet."""
        results: dict[str, Mapping[str, Array]] = {}
        fresh: dict[str, Media] = {}
        for item in media:
            known = self._features.get(wired.label, item.digest)
            if known is None or not {*wired.wanted} <= known.keys():
                fresh[item.digest] = item
            else:
                results[item.digest] = known
        if fresh:
            results.update(self._computed(wired, list(fresh.values())))
        return {
            write.port.name: _joined(
                [results[item.digest][write.port.name] for item in media], write.port
            )
            for write in wired.writes
            if all(write.port.name in results[item.digest] for item in media)
        }

    def _computed(self, wired: Wired, media: Sequence[Media]) -> dict[str, dict[str, Array]]:
        """Run the stage once over items; its results split by item, and kept."""
        given = [
            {read.port.name: self.given(item, read.port.name, wired) for read in wired.reads}
            for item in media
        ]
        written = call(
            wired,
            {
                read.name: _joined([ports[read.port.name] for ports in given], read.port)
                for read in wired.reads
            },
        )
        results: dict[str, dict[str, Array]] = {item.digest: {} for item in media}
        for write in wired.writes:
            if write.port.name not in written:
                continue
            name, axis = write.port.name, _media_axis(write.port)
            letter = write.port.axes[axis]
            counts = [
                len(item.at) if letter == "N" else _length(wired, ports, letter)
                for item, ports in zip(media, given, strict=True)
            ]
            if sum(counts) != written[name].shape[axis]:
                raise PluginError(
                    f"{wired.label} wrote {written[name].shape[axis]} rows of {name!r} for media "
                    f"that have {sum(counts)} of them; the stage and the processor disagree on "
                    "how many rows an image has"
                )
            splits = np.split(written[name], np.cumsum(counts)[:-1], axis)
            for item, part in zip(media, splits, strict=True):
                # The stage may use its output's memory again, and a reader may not write here.
                results[item.digest][name] = kept = np.array(part)
                kept.flags.writeable = False
        for digest, result in results.items():
            self._features.put(wired.label, digest, result)
        return results

    def given(self, item: Media, name: str, reader: Wired) -> Array:
        """A port of one item as `reader` finds it.

        That is what the last stage before it made of the port, else the processor's own.
        """
        for wired in reversed(self._stages[: self._stages.index(reader)]):
            if wired.per_media and name in [write.port.name for write in wired.writes]:
                return self.results(wired, [item])[name]
        return _offered(item, name)


def media_port(media: Sequence[Media], port: Port) -> Array:
    """A port that the processor computes, of all items, one after the other.

    Raises PluginError when the processor fails, or does not compute what it offers.
    """
    return _joined([_offered(item, port.name) for item in media], port)


def media_index(media: Sequence[Media]) -> Array:
    """int64 [N]: which of `media` each of their visual rows belongs to."""
    return np.repeat(np.arange(len(media)), [len(item.at) for item in media])


def _offered(item: Media, name: str) -> Array:
    if name in _OF_ROWS:
        return _OF_ROWS[name](item)
    try:
        ports = item.ports
    except TriptychError:
        raise
    except Exception as cause:
        raise PluginError(
            f"the processor raised {type(cause).__name__} for an {item.kind}: {cause}"
        ) from cause
    if name not in ports:
        raise PluginError(f"the processor offers {name!r} and did not compute it")
    return ports[name]


def _digests(item: Media) -> Array:
    """uint8 [N, 16]: the item's digest, for each of its rows."""
    return np.tile(np.frombuffer(digest_bytes(item), np.uint8), (len(item.at), 1))


_OF_ROWS: dict[str, Callable[[Media], Array]] = {
    "media_digest": _digests,
    "source_row": lambda item: np.arange(len(item.at)),
}
"""`MEDIA_PORTS` of one item."""


def _joined(parts: Sequence[Array], port: Port) -> Array:
    """The items' parts of a media port, one after the other."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, _media_axis(port))


def _media_axis(port: Port) -> int:
    for index, axis in enumerate(port.axes):
        if axis in MEDIA_AXES:
            return index
    raise PluginError(
        f"port {port.name!r} of media has none of the axes {', '.join(sorted(MEDIA_AXES))}, so it "
        "cannot be told which of its rows belong to which item"
    )


def _length(wired: Wired, ports: Mapping[str, Array], letter: Axis) -> int:
    """How long axis `letter` is in what `wired` was given for one item."""
    for read in wired.reads:
        if letter in read.port.axes:
            return int(ports[read.port.name].shape[read.port.axes.index(letter)])
    raise PluginError(f"{wired.label} writes an axis {letter!r} that nothing it reads has")
