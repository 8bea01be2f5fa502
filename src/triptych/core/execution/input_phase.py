"""What happens on INPUT: tokens and media that enter a sequence become rows of its table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from triptych.core.clock import Clock
from triptych.core.errors import PluginError
from triptych.core.execution.input_entry import InputEntry
from triptych.core.execution.input_step import InputStep
from triptych.core.execution.item_reducers import ItemReducers
from triptych.core.execution.media_stages import MediaStages, media_index, media_port
from triptych.core.execution.stage_call import Feeds, call
from triptych.core.observer import CORE, PROCESSOR, Moment, Watch
from triptych.core.ports import Array, Port, When
from triptych.core.prompt import Media
from triptych.core.sequences.feature_cache import FeatureCache
from triptych.core.sequences.reduction import ReductionError, keep_rows, merge_rows
from triptych.core.sequences.sequence import Appended, Column, visual_index
from triptych.core.sequences.sequence import Sequence as TokenSequence
from triptych.core.wiring.wired import (
    INPUT_PORTS,
    MEDIA_AXES,
    MEDIA_INDEX,
    MEDIA_PORTS,
    REDUCTIONS,
    SOURCE,
    Wired,
    Wiring,
)

_NEXT_POSITION = Port("next_position", "int64", ("S",))
_FIRST_POSITION = np.zeros(1, np.int64)
_FIRST_POSITION.flags.writeable = False
_NO_MEDIA = dict.fromkeys(MEDIA_AXES, 0)
"""How long the axes of media are where there is none."""


class InputPhase:
    """The INPUT stages of a pipeline.

    offers: the processor's media ports. features: where results for media are kept.
    declared: every port that there may be here, by name.
    """

    def __init__(
        self, wiring: Wiring, offers: Sequence[Port], feeds: Feeds, features: FeatureCache
    ) -> None:
        self._stages = tuple(InputEntry(wired) for wired in wiring.input)
        self._offers = offers
        self._of_rows = [port for port in MEDIA_PORTS if _read(wiring.input, port.name)]
        self._feeds = feeds
        self._media = MediaStages(wiring.input, features)
        self.declared = {
            port.name: port
            for port in (
                *INPUT_PORTS,
                *offers,
                *MEDIA_PORTS,
                MEDIA_INDEX,
                SOURCE,
                _NEXT_POSITION,
            )
        }
        for wired in wiring.input:
            self.declared.update({write.port.name: write.port for write in wired.writes})
        self._items = ItemReducers(self._media, feeds, self.declared)
        self._columns = _places(self.declared, "S")
        self._rows = _places(wiring.kept, "N")
        self._step = InputStep(
            self._stages, feeds, [name for name, _ in self._columns], {"S": 1, **_NO_MEDIA}
        )

    def enter(self, sequence: TokenSequence, clock: Clock) -> None:
        """Pass what was appended to `sequence` through the stages, into its table."""
        while sequence.appended:
            # What a stage fails on stays, and the table is as it was.
            new = sequence.appended[0]
            if sequence.watch is None and self._step.takes(sequence, new):
                self._step(sequence, new)
            else:
                self.store(sequence, self.ports(sequence, new, clock), text=not new.media)
            sequence.appended.pop(0)

    def ports(
        self, sequence: TokenSequence, new: Appended, clock: Clock, stages: int | None = None
    ) -> dict[str, Array]:
        """What the first `stages` of the stages, or all, make of tokens that enter `sequence`."""
        count = len(new.tokens)
        position = sequence.table.get("next_position")
        start = position.last if position is not None and len(position) else _FIRST_POSITION
        ports: dict[str, Array] = {
            "input_ids": new.tokens,
            "visual_index": visual_index(count, new.media),
            "start_position": start,
            "source": np.arange(new.start, new.start + count),
        }
        if new.media:
            ports.update(self._said_of_rows(new.media))
        lengths = {"S": count, **_NO_MEDIA}
        watch = sequence.watch
        if watch is not None:
            self._show_given(watch, sequence, new, ports)
        for entry in self._stages[:stages]:
            wired = entry.wired
            moment = None if watch is None else _moment(wired, sequence, new, ports)
            made = None if watch is None or moment is None else watch.instead(moment)
            if made is not None:
                entry.check_lengths(made, ports["visual_index"])
            elif wired.per_media:
                made = self._of_media(entry, ports, new.media, clock)
            else:
                made = self._written(entry, ports, new.media, lengths)
            if made:
                if watch is not None and moment is not None:
                    watch.show(moment, made)
                ports.update(made)
                if entry.reduces:
                    ports = self._reduced(wired, ports)
                    lengths["S"] = len(ports["input_ids"])
        if "next_position" not in ports:
            ports["next_position"] = start + 1 + np.arange(len(ports["input_ids"]))
        return ports

    def store(
        self, sequence: TokenSequence, ports: Mapping[str, Array], *, text: bool = False
    ) -> None:
        """Append what entered to the table and the visual rows. text: none of it is media's."""
        tokens_before = sequence.entered
        values = ports
        if not text:
            rows_before, visual = sequence.visual_rows, ports["visual_index"]
            values = {**ports, "visual_index": np.where(visual >= 0, visual + rows_before, -1)}
            for name, axis in self._rows:
                if name in values:
                    if name not in sequence.rows:
                        sequence.rows[name] = _column(values[name], axis, rows_before)
                    sequence.rows[name].extend(values[name])
        table, count = sequence.table, len(ports["input_ids"])
        for name, axis in self._columns:
            more, column = values.get(name), table.get(name)
            if more is not None:
                if column is None:
                    column = table[name] = _column(more, axis, tokens_before)
                column.extend(more)
            elif column is not None:
                column.extend_with_zeros(count)
        sequence.entered += count

    def _written(
        self,
        entry: InputEntry,
        ports: dict[str, Array],
        media: Sequence[Media],
        lengths: Mapping[str, int],
    ) -> Mapping[str, Array]:
        """What a stage makes of all that enters; nothing when it is skipped."""
        wired = entry.wired
        if media and wired.per_item:
            return self._items.written(wired, ports, media)
        if media:
            self._offer(wired, ports, media)
        feeds = self._feeds.of(wired, ports, lengths)
        if feeds is None:
            return {}
        written = call(wired, feeds)
        entry.check_lengths(written, ports["visual_index"])
        return written

    def _of_media(
        self, entry: InputEntry, ports: Mapping[str, Array], media: Sequence[Media], clock: Clock
    ) -> Mapping[str, Array]:
        """What a stage that is `per_media` makes of all items; nothing where there is none."""
        if not media:
            return {}
        begin = time.perf_counter()
        written = self._media.results(entry.wired, media)
        clock.vision += time.perf_counter() - begin
        entry.check_lengths(written, ports["visual_index"])
        return written

    def _show_given(
        self, watch: Watch, sequence: TokenSequence, new: Appended, ports: Mapping[str, Array]
    ) -> None:
        """Let who watches a sequence see what enters, and of media what the processor made."""
        own = tuple(port for port in (*INPUT_PORTS, SOURCE) if port.name in ports)
        moment = _at(CORE, own, sequence, new, ports)
        watch.show(moment, {port.name: ports[port.name] for port in own})
        read = {read.port.name for entry in self._stages for read in entry.wired.reads}
        offers = tuple(
            port for port in self._offers if port.name in read and watch.wants([port.name])
        )
        if offers and new.media:
            moment = _at(PROCESSOR, offers, sequence, new, ports)
            watch.show(moment, {port.name: media_port(new.media, port) for port in offers})

    def _said_of_rows(self, media: Sequence[Media]) -> dict[str, Array]:
        """What the core says of visual rows: before any is dropped, so that this goes with it."""
        said = {port.name: media_port(media, port) for port in self._of_rows}
        return {**said, MEDIA_INDEX.name: media_index(media)}

    def _offer(self, wired: Wired, ports: dict[str, Array], media: Sequence[Media]) -> None:
        """Compute the media ports that a stage reads."""
        wanted = {read.port.name for read in wired.reads}
        for port in self._offers:
            if port.name in wanted and port.name not in ports:
                ports[port.name] = media_port(media, port)

    def _reduced(self, wired: Wired, ports: dict[str, Array]) -> dict[str, Array]:
        """Apply what a visual-token reducer wrote."""
        said = {name: ports.pop(name) for name in REDUCTIONS if name in ports}
        if "keep_rows" in said:
            return keep_rows(ports, self.declared, said["keep_rows"])
        try:
            return merge_rows(ports, self.declared, said["merge_rows"], said["merge_weights"])
        except ReductionError as cause:
            raise PluginError(f"stage {wired.label} wrote {cause}") from cause


def _moment(
    wired: Wired, sequence: TokenSequence, new: Appended, ports: Mapping[str, Array]
) -> Moment:
    """Where a stage is called on what enters, for who watches the sequence."""
    writes = tuple(write.port for write in wired.writes)
    return _at(wired.label, writes, sequence, new, ports, per_media=wired.per_media)


def _at(
    writer: str,
    writes: tuple[Port, ...],
    sequence: TokenSequence,
    new: Appended,
    ports: Mapping[str, Array],
    *,
    per_media: bool = False,
) -> Moment:
    tokens, source = ports["input_ids"], ports["source"]
    return Moment(
        writer,
        writes,
        sequence,
        When.INPUT,
        tokens,
        source,
        media=new.media,
        per_media=per_media,
    )


def _read(stages: Sequence[Wired], port: str) -> bool:
    """Whether a stage that runs on what enters, and not once for each medium, reads `port`."""
    return any(
        read.port.name == port for wired in stages if not wired.per_media for read in wired.reads
    )


def _places(ports: Mapping[str, Port], axis: str) -> list[tuple[str, int]]:
    """The names of the ports that have `axis`, and where."""
    return [(name, port.axes.index(axis)) for name, port in ports.items() if axis in port.axes]


def _column(like: Array, axis: int, before: int) -> Column:
    """A new column for rows as `like` has them; it begins with `before` places of zeros."""
    column = Column(np.compress([], like, axis), axis)
    column.extend_with_zeros(before)
    return column
