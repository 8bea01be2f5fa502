"""What happens on each SPAN: a slice of a sequence is forwarded, and the caches grow by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from triptych.core.cache import Cache, TokenIndex
from triptych.core.errors import PluginError
from triptych.core.execution.stage_call import Feeds, call
from triptych.core.observer import Moment
from triptych.core.ports import Array, When
from triptych.core.sequences.reduction import ReductionError, keep_tokens
from triptych.core.sequences.sequence import Sequence
from triptych.core.wiring.cache_needs import Seen, Shown, settle
from triptych.core.wiring.wired import INPUT_PORTS, SPAN_PORTS, TABLE_PORTS, Wired, Wiring

_NO_ROWS = np.zeros(0, np.int64)

_Grown = tuple[Cache[Any], Any, list[Seen]]
"""A cache, the slot that grew by a slice, and what the cache is shown of it."""


class SpanPhase:
    """The SPAN stages of a pipeline. caches: by the label of each stage that keeps one.

    shown: what their policies need.
    """

    def __init__(
        self, wiring: Wiring, caches: Mapping[str, Cache[Any]], feeds: Feeds, shown: Shown
    ) -> None:
        self._shown = shown
        self._stages = wiring.span
        self._caches = caches
        self._feeds = feeds
        self._declared = {
            port.name: port for port in (*INPUT_PORTS, *TABLE_PORTS, *SPAN_PORTS)
        } | dict(wiring.kept)
        for wired in wiring.span:
            self._declared.update({write.port.name: write.port for write in wired.writes})
        self._drops = {wired.label for wired in wiring.span if wired.drops}

    def room(self, sequence: Sequence) -> int:
        """How many tokens one forward may add now."""
        least: int | None = None
        for label in self._caches:
            room = self._slot(sequence, label).room
            least = room if least is None else min(least, room)
        return len(sequence) if least is None else least

    def together(self, sequences: list[Sequence]) -> list[list[int]]:
        """Which of `sequences`, by index, one forward takes. The caches are pools."""
        for label in self._caches:
            for sequence in sequences:
                self._slot(sequence, label)
        for label, cache in self._caches.items():
            pool: Any = cache
            groups: list[list[int]] = pool.together([one.caches[label] for one in sequences])
            return groups
        return [list(range(len(sequences)))]

    def ports(
        self, sequence: Sequence, stop: int, rows: int, stages: int | None = None
    ) -> dict[str, Array]:
        """Every port of the slice up to `stop`, after the first `stages` of the stages, or all.

        rows: how many of its last tokens logits are wanted for; of 0, one is asked for, as graphs
        give some. The caches have grown by the slice when all stages were run. Where tokens were
        dropped, `keep_tokens` is the last stage's that dropped some.
        """
        start, count = sequence.forwarded, stop - sequence.forwarded
        index = np.arange(start, stop)
        ports = _slice(sequence, start, stop)
        ports["logit_index"] = np.arange(count - max(rows, 1), count)
        lengths = {"B": 1, "S": count, "N": 0, "R": max(rows, 1)}
        grown: list[_Grown] = []
        kept: Array | None = None
        watch = sequence.watch
        for wired in self._stages[:stages]:
            moment = None if watch is None else _moment(wired, sequence, ports, rows)
            written = None if watch is None or moment is None else watch.instead(moment)
            if written is None:
                feeds = self._feeds.of(wired, ports, lengths)
                if feeds is None:
                    continue
                written = self._written(wired, feeds, ports, sequence, index, grown)
            if watch is not None and moment is not None:
                watch.show(moment, written)
            ports.update(written)
            if wired.label in self._drops and written:
                kept = ports["keep_tokens"]
                index = self._dropped(wired, ports, index, anyone=not rows)
                lengths["S"] = len(index)
                if not len(index):
                    break
        # Only now, so that a stage that fails leaves no cache longer than another.
        for cache, slot, seen in grown:
            settle(cache, [slot], seen)
        if kept is not None:
            ports["keep_tokens"] = kept
        return ports

    def _written(
        self,
        wired: Wired,
        feeds: dict[str, Array],
        ports: Mapping[str, Array],
        sequence: Sequence,
        index: TokenIndex,
        grown: list[_Grown],
    ) -> Mapping[str, Array]:
        """What a stage writes of `feeds`. Its cache, if it keeps one, joins those that have grown.

        What a cache is shown is taken now, before tokens are dropped: its rows are those that its
        stage saw.
        """
        label = wired.label
        cache = self._caches.get(label)
        if cache is None:
            return call(wired, feeds)
        slot = self._slot(sequence, label)
        binding = cache.bind([slot], [index])
        feeds.update(binding.pasts)
        feeds.update(from_cache(wired, binding.ports))
        written = call(wired, feeds)
        shown = label in self._shown
        seen = [self._shown.of(label, {**ports, **written})] if shown else []
        grown.append((cache, slot, seen))
        return written

    def _dropped(
        self, wired: Wired, ports: dict[str, Array], index: TokenIndex, *, anyone: bool
    ) -> TokenIndex:
        """Take the tokens that a stage drops out of `ports`; the `index` of those that are left.

        A cache behind the stage gets their rows alone, under the numbers that they have in the
        sequence, so each cache has a length of its own and all go back to the same token.
        anyone: no logits are wanted, so that those of any token that is left will do.
        """
        keep = ports.pop("keep_tokens").reshape(-1)
        if len(keep) != len(index):
            raise PluginError(
                f"stage {wired.label} wrote 'keep_tokens' with {len(keep)} tokens, where "
                f"{len(index)} are forwarded"
            )
        if keep.all():
            return index
        if anyone:
            ports["logit_index"] = np.flatnonzero(keep)[-1:]
        try:
            ports.update(keep_tokens(ports, self._declared, keep))
        except ReductionError as cause:
            raise PluginError(f"stage {wired.label} wrote {cause}") from cause
        return index[keep]

    def _slot(self, sequence: Sequence, label: str) -> Any:
        """The sequence's slot in the cache of stage `label`, leased when first asked for."""
        slot = sequence.caches.get(label)
        if slot is None:
            slot = sequence.caches[label] = self._caches[label].lease()
        return slot


def _moment(wired: Wired, sequence: Sequence, ports: Mapping[str, Array], rows: int) -> Moment:
    """Where a stage is called in a slice, for who watches the sequence. rows: that are wanted."""
    writes = tuple(write.port for write in wired.writes)
    wanted = ports["logit_index"] if rows else _NO_ROWS
    tokens, source = ports["input_ids"], ports["source"]
    return Moment(wired.label, writes, sequence, When.SPAN, tokens, source, wanted)


def is_text(sequence: Sequence, token: int) -> bool:
    """Whether a token that has entered `sequence` stands for no visual row."""
    return bool(sequence.table["visual_index"].number(token) < 0)


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


def from_cache(wired: Wired, ports: Mapping[str, Array]) -> dict[str, Array]:
    """What a cache writes beside the past tensors, by the names of the stage that reads it."""
    return {read.name: ports[read.port.name] for read in wired.reads if read.port.name in ports}
