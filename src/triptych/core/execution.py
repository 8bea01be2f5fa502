"""Running the stages: tokens enter a sequence, slices of it are forwarded."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from triptych.core.cache import Cache
from triptych.core.errors import InputError, PluginError, TriptychError
from triptych.core.feature_cache import FeatureCache
from triptych.core.ports import AXES, Array, Axis, Port, same_dtype
from triptych.core.prompt import Media, Prompt
from triptych.core.reduction import ReductionError, keep_rows, merge_rows
from triptych.core.sequence import Column, Entry, Sequence, visual_index
from triptych.core.wiring import (
    CACHE_PORTS,
    INPUT_PORTS,
    MEDIA_AXES,
    REDUCTIONS,
    SOURCE,
    SPAN_PORTS,
    Read,
    Wired,
    Wiring,
)

_NEXT_POSITION = Port("next_position", "int64", ("S",))


@dataclass
class Clock:
    """Seconds spent on media (`vision`) and on slices (`forward`)."""

    vision: float = 0.0
    forward: float = 0.0


@dataclass(eq=False)
class Executor:
    """The stages of one loaded pipeline. One caller at a time.

    caches: by the label of each stage that keeps one. offers: the processor's media ports.
    """

    wiring: Wiring
    offers: tuple[Port, ...]
    caches: Mapping[str, Cache[Any]]
    max_length: int
    features: FeatureCache = field(default_factory=FeatureCache)

    def __post_init__(self) -> None:
        self._declared = {
            port.name: port for port in (*INPUT_PORTS, *self.offers, SOURCE, _NEXT_POSITION)
        }
        for wired in self.wiring.input:
            self._declared.update({write.port.name: write.port for write in wired.writes})
        self._shares_prefix = not any(wired.stage.whole for wired in self.wiring.stages)
        self._fills: dict[Port, Array] = {}

    def sequence(self) -> Sequence:
        """A new, empty sequence."""
        return Sequence(self.max_length, shares_prefix=self._shares_prefix)

    def enter(self, sequence: Sequence, clock: Clock) -> None:
        """Pass what was appended to `sequence` through the INPUT stages, into its table."""
        while sequence.entries:
            # An entry that a stage fails on stays, and the table is as it was.
            self._store(sequence, self._input_ports(sequence, sequence.entries[0], clock))
            sequence.entries.pop(0)

    def forward(self, sequence: Sequence, stop: int, rows: int, clock: Clock) -> Array:
        """Forward the tokens from ``sequence.forwarded`` up to `stop`.

        Returns the logits of the last `rows` of them, float32 [rows, V].
        """
        begin = time.perf_counter()
        ports = self.run_span(sequence, stop, rows)
        sequence.forwarded = stop
        clock.forward += time.perf_counter() - begin
        # A decoder that takes no `logit_index` gives the logits of the whole slice.
        logits: Array = ports["logits"][0][-rows:]
        if len(logits) < rows:
            raise PluginError(
                f"the stages wrote {len(logits)} rows of 'logits' where {rows} were wanted"
            )
        return logits

    def probe(self, prompt: Prompt, port: str) -> dict[str, Array]:
        """Every port that is there once `port` has its last value, for `prompt` in one slice.

        Stages after that are not run. The arrays are valid until the next run of any stage.
        Raises InputError when the prompt is longer than one slice can be.
        """
        sequence = self.sequence()
        try:
            sequence.append(prompt.tokens, prompt.media)
            spans = self._stages_until(port, self.wiring.span)
            later = spans or port in {known.name for known in SPAN_PORTS}
            stages = (
                len(self.wiring.input) if later else self._stages_until(port, self.wiring.input)
            )
            ports = self._input_ports(sequence, sequence.entries[0], Clock(), stages)
            for offer in self.offers:
                if offer.name == port and port not in ports and prompt.media:
                    ports[port] = _joined([_offered(item, port) for item in prompt.media], offer)
            if not later:
                return ports
            self._store(sequence, ports)
            if sequence.entered > self.room(sequence):
                raise InputError(
                    f"the prompt has {sequence.entered} tokens, and the cache takes "
                    f"{self.room(sequence)} at once; shorten it, or choose another cache"
                )
            return self.run_span(sequence, sequence.entered, 1, stages=spans)
        finally:
            sequence.close()

    def port_names(self) -> set[str]:
        """Every port of this pipeline, whoever writes it."""
        names = {port.name for port in (*INPUT_PORTS, *SPAN_PORTS, *self.offers)}
        written = [write.port.name for wired in self.wiring.stages for write in wired.writes]
        return names.union(written)

    def run_span(
        self, sequence: Sequence, stop: int, rows: int, *, stages: int | None = None
    ) -> dict[str, Array]:
        """Every port of one slice, after the first `stages` of the SPAN stages, or all.

        The caches have grown by the slice when all of these were run.
        """
        start = sequence.forwarded
        ports = _slice(sequence, start, stop)
        count = stop - start
        ports["logit_index"] = np.arange(count - rows, count)
        lengths = {"B": 1, "S": count, "N": 0, "R": rows}
        grown: list[tuple[Cache[Any], Any]] = []
        for wired in self.wiring.span[:stages]:
            feeds = self._feeds(wired, ports, lengths)
            if feeds is None:
                continue
            cache = self.caches.get(wired.label)
            if cache is not None:
                slot = self.slot(sequence, wired.label)
                binding = cache.bind([slot], [np.arange(start, stop)])
                feeds.update(binding.pasts)
                feeds.update(_from_cache(wired, binding.ports))
                grown.append((cache, slot))
            ports.update(_call(wired, feeds))
        # Only now, so that a stage that fails leaves no cache longer than another.
        for cache, slot in grown:
            cache.settle([slot])
        return ports

    def _stages_until(self, port: str, stages: tuple[Wired, ...]) -> int:
        """How many of `stages` run until `port` has its last value; a reducer changes many."""
        declared = self._declared.get(port)
        reducible = declared is not None and {"S", "N"} & set(declared.axes)
        last = 0
        for count, wired in enumerate(stages, start=1):
            written = {write.port.name for write in wired.writes}
            if port in written or (reducible and written & REDUCTIONS.keys()):
                last = count
        return last

    def slot(self, sequence: Sequence, label: str) -> Any:
        """The sequence's slot in the cache of stage `label`, leased when first asked for."""
        if label not in sequence.caches:
            sequence.caches[label] = self.caches[label].lease()
        return sequence.caches[label]

    def room(self, sequence: Sequence) -> int:
        """How many tokens one forward may add now."""
        return min(
            (self.slot(sequence, label).room for label in self.caches), default=len(sequence)
        )

    def _input_ports(
        self, sequence: Sequence, entry: Entry, clock: Clock, stages: int | None = None
    ) -> dict[str, Array]:
        """What the first `stages` of the INPUT stages, or all, make of tokens that enter."""
        count = len(entry.tokens)
        position = sequence.table.get("next_position")
        start = position.values[-1:] if position is not None and len(position) else np.zeros(1, int)
        ports: dict[str, Array] = {
            "input_ids": entry.tokens,
            "visual_index": visual_index(count, entry.media),
            "start_position": start.astype(np.int64),
            "source": entry.start + np.arange(count),
        }
        for wired in self.wiring.input[:stages]:
            if wired.per_media:
                if entry.media:
                    begin = time.perf_counter()
                    written = self._per_media(wired, entry.media)
                    clock.vision += time.perf_counter() - begin
                    _check_lengths(wired, written, ports["visual_index"])
                    ports.update(written)
                continue
            self._offer(wired, ports, entry.media)
            lengths = {"S": len(ports["input_ids"]), "N": 0, "images": 0, "patches": 0}
            feeds = self._feeds(wired, ports, lengths)
            if feeds is not None:
                written = _call(wired, feeds)
                _check_lengths(wired, written, ports["visual_index"])
                ports = self._reduced(wired, ports | written)
        if "next_position" not in ports:
            ports["next_position"] = start + 1 + np.arange(len(ports["input_ids"]))
        return ports

    def _offer(self, wired: Wired, ports: dict[str, Array], media: Iterable[Media]) -> None:
        """Compute the media ports that a stage reads."""
        items = list(media)
        for port in self.offers:
            wanted = any(read.port.name == port.name for read in wired.reads)
            if wanted and items and port.name not in ports:
                ports[port.name] = _joined([_offered(item, port.name) for item in items], port)

    def _per_media(self, wired: Wired, media: Iterable[Media]) -> dict[str, Array]:
        """The stage's results for all items, computed for those that are not known yet."""
        items = list(media)
        results: dict[str, Mapping[str, Array]] = {}
        fresh: dict[str, Media] = {}
        for item in items:
            known = self.features.get(wired.label, item.digest)
            if known is None:
                fresh[item.digest] = item
            else:
                results[item.digest] = known
        if fresh:
            results.update(self._compute(wired, list(fresh.values())))
        return {
            write.port.name: _joined(
                [results[item.digest][write.port.name] for item in items], write.port
            )
            for write in wired.writes
        }

    def _compute(self, wired: Wired, items: list[Media]) -> dict[str, dict[str, Array]]:
        """Run the stage once over `items`; its results split by item, and kept."""
        given = [
            {read.port.name: self._media_port(item, read.port.name, wired) for read in wired.reads}
            for item in items
        ]
        written = _call(
            wired,
            {
                read.name: _joined([ports[read.port.name] for ports in given], read.port)
                for read in wired.reads
            },
        )
        results: dict[str, dict[str, Array]] = {item.digest: {} for item in items}
        for write in wired.writes:
            name, axis = write.port.name, _media_axis(write.port)
            letter = write.port.axes[axis]
            counts = [
                len(item.at) if letter == "N" else _length(wired, ports, letter)
                for item, ports in zip(items, given, strict=True)
            ]
            if sum(counts) != written[name].shape[axis]:
                raise PluginError(
                    f"{wired.label} wrote {written[name].shape[axis]} rows of {name!r} for media "
                    f"that have {sum(counts)} of them; the stage and the processor disagree on "
                    "how many rows an image has"
                )
            splits = np.split(written[name], np.cumsum(counts)[:-1], axis)
            for item, part in zip(items, splits, strict=True):
                # The stage may use its output's memory again, and a reader may not write here.
                results[item.digest][name] = kept = np.array(part)
                kept.flags.writeable = False
        for digest, result in results.items():
            self.features.put(wired.label, digest, result)
        return results

    def _media_port(self, item: Media, name: str, reader: Wired) -> Array:
        """A port of one item as `reader` finds it.

        That is what the last stage before it made of the port, else the processor's own.
        """
        before = self.wiring.input[: self.wiring.input.index(reader)]
        for wired in reversed(before):
            if wired.per_media and name in [write.port.name for write in wired.writes]:
                return self._per_media(wired, [item])[name]
        return _offered(item, name)

    def _reduced(self, wired: Wired, ports: dict[str, Array]) -> dict[str, Array]:
        """Apply what a visual-token reducer wrote."""
        written = {write.port.name for write in wired.writes} & REDUCTIONS.keys()
        if not written:
            return ports
        said = {name: ports.pop(name) for name in written}
        if "keep_rows" in said:
            return keep_rows(ports, self._declared, said["keep_rows"])
        try:
            return merge_rows(ports, self._declared, said["merge_rows"], said["merge_weights"])
        except ReductionError as cause:
            raise PluginError(f"stage {wired.label} wrote {cause}") from cause

    def _feeds(
        self, wired: Wired, ports: Mapping[str, Array], lengths: Mapping[str, int]
    ) -> dict[str, Array] | None:
        """What the stage reads, by its own names; None when it is to be skipped."""
        feeds: dict[str, Array] = {}
        for read in wired.reads:
            value = ports.get(read.port.name)
            if value is not None:
                axis = read.batch_axis
                feeds[read.name] = value if axis is None else np.expand_dims(value, axis)
            elif read.port.absent is not None:
                feeds[read.name] = self._fill(read, lengths)
            elif not _is_cached(wired, read):
                return None
        return feeds

    def _fill(self, read: Read, lengths: Mapping[str, int]) -> Array:
        """What stands for a port that was not written; the one of the last call, if it fits."""
        port = read.port
        known = {**self.wiring.sizes, **lengths}
        shape = tuple(axis if isinstance(axis, int) else known.get(axis, 1) for axis in port.axes)
        filled = self._fills.get(port)
        if filled is None or filled.shape != shape:
            dtype = "float32" if port.dtype == "float" else port.dtype
            filled = self._fills[port] = np.full(shape, port.absent, dtype)
            filled.flags.writeable = False
        return filled

    def _store(self, sequence: Sequence, ports: Mapping[str, Array]) -> None:
        """Append an entry's ports to the table and the visual rows."""
        count = len(ports["input_ids"])
        before = sequence.entered
        rows_before = (
            1 + int(sequence.table["visual_index"].values.max(initial=-1)) if before else 0
        )
        table = {
            name: port
            for name, port in self._declared.items()
            if "S" in port.axes and (name in ports or name in sequence.table)
        }
        values = dict(ports)
        visual = values["visual_index"]
        values["visual_index"] = np.where(visual >= 0, visual + rows_before, -1)
        for name, port in table.items():
            axis = port.axes.index("S")
            value = values.get(name)
            if value is None:
                column = sequence.table[name]
                value = np.zeros_like(column.between(0, 0), shape=_resized(column, count))
            _grow(sequence.table, name, value, axis, before)
        for name in self.wiring.kept:
            port = self._declared[name]
            if "N" in port.axes and name in values:
                _grow(sequence.rows, name, values[name], port.axes.index("N"), rows_before)


def _grow(columns: dict[str, Column], name: str, value: Array, axis: int, before: int) -> None:
    """Append to a column; a new one begins with `before` places of zeros."""
    if name in columns:
        columns[name].extend(value)
        return
    shape = list(value.shape)
    shape[axis] = before
    empty = np.zeros(shape, value.dtype)
    columns[name] = Column(np.concatenate([empty, value], axis), axis)


def _resized(column: Column, count: int) -> tuple[int, ...]:
    shape = list(column.between(0, 0).shape)
    shape[column.axis] = count
    return tuple(shape)


def _slice(sequence: Sequence, start: int, stop: int) -> dict[str, Array]:
    """The table from `start` to `stop`, and the visual rows of those tokens, rebased."""
    ports = {name: column.between(start, stop) for name, column in sequence.table.items()}
    visual = ports["visual_index"]
    rows = visual[visual >= 0]
    if rows.size:
        first, last = int(rows[0]), int(rows[-1]) + 1
        for name, column in sequence.rows.items():
            ports[name] = column.between(first, last)
        ports["visual_index"] = np.where(visual >= 0, visual - first, -1)
    return ports


def _joined(parts: list[Array], port: Port) -> Array:
    """The items' parts of a media port, one after the other."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, _media_axis(port))


def _length(wired: Wired, ports: Mapping[str, Array], letter: Axis) -> int:
    """How long axis `letter` is in what `wired` was given for one item."""
    for read in wired.reads:
        if letter in read.port.axes:
            return int(ports[read.port.name].shape[read.port.axes.index(letter)])
    raise PluginError(f"{wired.label} writes an axis {letter!r} that nothing it reads has")


def _media_axis(port: Port) -> int:
    for index, axis in enumerate(port.axes):
        if axis in MEDIA_AXES:
            return index
    raise PluginError(
        f"port {port.name!r} of media has none of the axes {', '.join(sorted(MEDIA_AXES))}, so it "
        "cannot be told which of its rows belong to which item"
    )


def _offered(item: Media, name: str) -> Array:
    """A port that the processor computes for a media item."""
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


def _is_cached(wired: Wired, read: Read) -> bool:
    """Whether the stage's cache writes what it reads here."""
    pairs = wired.stage.cache_pairs
    return read.name in {pair.past.name for pair in pairs} or (
        bool(pairs) and read.port.name in {port.name for port in CACHE_PORTS}
    )


def _from_cache(wired: Wired, ports: Mapping[str, Array]) -> dict[str, Array]:
    """What a cache writes beside the past tensors, by the names of the stage that reads it."""
    return {read.name: ports[read.port.name] for read in wired.reads if read.port.name in ports}


def _call(wired: Wired, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a stage; its outputs by the pipeline's names, checked against what it declared."""
    try:
        given: Any = wired.stage(feeds)
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
        if value.ndim != len(port.axes) or not same_dtype(value.dtype.name, port.dtype):
            raise PluginError(
                f"stage {wired.label} wrote {write.name!r} as {value.dtype} {list(value.shape)}, "
                f"but declares {port}"
            )
        written[port.name] = value
    return written


def _foreign(wired: Wired, name: str, value: Any) -> Array:
    """Another library's tensor as a numpy array, without a copy."""
    try:
        return np.from_dlpack(value)
    except Exception as cause:
        raise PluginError(
            f"stage {wired.label} wrote {name!r} as {type(value).__name__}; a numpy array is "
            "needed, or a tensor in the memory of the CPU with __dlpack__"
        ) from cause


def _check_lengths(wired: Wired, written: Mapping[str, Array], visual: Array) -> None:
    """Whether what an INPUT stage wrote has one row per token, or per visual row."""
    lengths = {"S": len(visual), "N": int((visual >= 0).sum())}
    for write in wired.writes:
        shape = written[write.port.name].shape
        for axis, length in zip(write.port.axes, shape, strict=True):
            if axis in lengths and lengths[axis] != length:
                raise PluginError(
                    f"stage {wired.label} wrote {write.name!r} with {length} {AXES[axis]}, "
                    f"where {lengths[axis]} entered"
                )
