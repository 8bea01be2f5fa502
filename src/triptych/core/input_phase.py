"""What happens on INPUT: tokens and media that enter a sequence become rows of its table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from triptych.core.clock import Clock
from triptych.core.errors import PluginError
from triptych.core.feature_cache import FeatureCache
from triptych.core.media_stages import MediaStages, media_port
from triptych.core.ports import AXES, Array, Port
from triptych.core.prompt import Media
from triptych.core.reduction import ReductionError, keep_rows, merge_rows
from triptych.core.sequence import Appended, Column, visual_index
from triptych.core.sequence import Sequence as TokenSequence
from triptych.core.stage_call import Feeds, call
from triptych.core.wired import INPUT_PORTS, MEDIA_AXES, REDUCTIONS, SOURCE, Wired, Wiring

_NEXT_POSITION = Port("next_position", "int64", ("S",))


class InputPhase:
    """The INPUT stages of a pipeline.

    offers: the processor's media ports. features: where results for media are kept.
    declared: every port that there may be here, by name.
    """

    def __init__(
        self, wiring: Wiring, offers: Sequence[Port], feeds: Feeds, features: FeatureCache
    ) -> None:
        self._stages = wiring.input
        self._kept = wiring.kept
        self._offers = offers
        self._feeds = feeds
        self._media = MediaStages(wiring.input, features)
        self.declared = {
            port.name: port for port in (*INPUT_PORTS, *offers, SOURCE, _NEXT_POSITION)
        }
        for wired in wiring.input:
            self.declared.update({write.port.name: write.port for write in wired.writes})

    def enter(self, sequence: TokenSequence, clock: Clock) -> None:
        """Pass what was appended to `sequence` through the stages, into its table."""
        while sequence.appended:
            # What a stage fails on stays, and the table is as it was.
            self.store(sequence, self.ports(sequence, sequence.appended[0], clock))
            sequence.appended.pop(0)

    def ports(
        self, sequence: TokenSequence, new: Appended, clock: Clock, stages: int | None = None
    ) -> dict[str, Array]:
        """What the first `stages` of the stages, or all, make of tokens that enter `sequence`."""
        count = len(new.tokens)
        position = sequence.table.get("next_position")
        start = position.values[-1:] if position is not None and len(position) else np.zeros(1, int)
        ports: dict[str, Array] = {
            "input_ids": new.tokens,
            "visual_index": visual_index(count, new.media),
            "start_position": start.astype(np.int64),
            "source": new.start + np.arange(count),
        }
        for wired in self._stages[:stages]:
            if wired.per_media:
                if new.media:
                    begin = time.perf_counter()
                    written = self._media.results(wired, new.media)
                    clock.vision += time.perf_counter() - begin
                    _check_lengths(wired, written, ports["visual_index"])
                    ports.update(written)
                continue
            self._offer(wired, ports, new.media)
            lengths = {"S": len(ports["input_ids"]), **dict.fromkeys(MEDIA_AXES, 0)}
            feeds = self._feeds.of(wired, ports, lengths)
            if feeds is not None:
                written = call(wired, feeds)
                _check_lengths(wired, written, ports["visual_index"])
                ports = self._reduced(wired, ports | written)
        if "next_position" not in ports:
            ports["next_position"] = start + 1 + np.arange(len(ports["input_ids"]))
        return ports

    def store(self, sequence: TokenSequence, ports: Mapping[str, Array]) -> None:
        """Append what entered to the table and the visual rows."""
        tokens_before, rows_before = sequence.entered, sequence.visual_rows
        count = len(ports["input_ids"])
        visual = ports["visual_index"]
        values = {**ports, "visual_index": np.where(visual >= 0, visual + rows_before, -1)}
        for name, port in self.declared.items():
            if "S" not in port.axes:
                continue
            if name in values:
                axis = port.axes.index("S")
                _grow(sequence.table, name, values[name], axis, tokens_before)
            elif name in sequence.table:
                sequence.table[name].extend_with_zeros(count)
        for name, port in self._kept.items():
            if "N" in port.axes and name in values:
                _grow(sequence.rows, name, values[name], port.axes.index("N"), rows_before)

    def _offer(self, wired: Wired, ports: dict[str, Array], media: Sequence[Media]) -> None:
        """Compute the media ports that a stage reads."""
        wanted = {read.port.name for read in wired.reads}
        for port in self._offers:
            if media and port.name in wanted and port.name not in ports:
                ports[port.name] = media_port(media, port)

    def _reduced(self, wired: Wired, ports: dict[str, Array]) -> dict[str, Array]:
        """Apply what a visual-token reducer wrote."""
        written = {write.port.name for write in wired.writes} & REDUCTIONS.keys()
        if not written:
            return ports
        said = {name: ports.pop(name) for name in written}
        if "keep_rows" in said:
            return keep_rows(ports, self.declared, said["keep_rows"])
        try:
            return merge_rows(ports, self.declared, said["merge_rows"], said["merge_weights"])
        except ReductionError as cause:
            raise PluginError(f"stage {wired.label} wrote {cause}") from cause


def _grow(columns: dict[str, Column], name: str, more: Array, axis: int, before: int) -> None:
    """Append to a column; a new one begins with `before` places of zeros."""
    if name not in columns:
        columns[name] = Column(np.compress([], more, axis), axis)
        columns[name].extend_with_zeros(before)
    columns[name].extend(more)


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
