"""Tells which pass of an answer a moment belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from triptych.core.observer import CORE, Moment
from triptych.core.ports import When
from triptych.core.wiring.wired import Wiring
from triptych.recording.index import Item, Pass
from triptych.recording.numbering import Numbering


class Passes:
    """Counts the passes of one answer. prompt: how many tokens its prompt has, as given."""

    def __init__(self, wiring: Wiring, prompt: int) -> None:
        self._order: Mapping[str, int] = {
            wired.label: place for place, wired in enumerate(wiring.stages)
        }
        self._prompt = prompt
        self._sequences = Numbering()
        self._last: tuple[int, When, int] | None = None
        self._count = 0
        self.now: Pass | None = None

    @property
    def labels(self) -> Collection[str]:
        """Of all stages."""
        return self._order.keys()

    def enter(self, moment: Moment) -> tuple[Pass, bool]:
        """The pass of a moment, and whether it is a new one."""
        sequence = self._sequences.of(moment.sequence)
        place = self._order.get(moment.writer, -1)
        before = self._last
        new = (
            self.now is None
            or before is None
            or before[:2] != (sequence, moment.when)
            or moment.writer == CORE
            or 0 <= place <= before[2]
        )
        self._last = sequence, moment.when, place
        if new:
            self.now = self._made(moment, sequence)
            self._count += 1
        assert self.now is not None  # noqa: S101 - the first moment makes one
        return self.now, new

    def _made(self, moment: Moment, sequence: int) -> Pass:
        source = tuple(moment.source.tolist())
        first = source[0] if source else 0
        return Pass(
            self._count,
            moment.when.value,
            sequence,
            max(0, first - self._prompt + 1),
            tuple(moment.tokens.tolist()),
            source,
            tuple(Item(item.kind, item.digest, len(item.at)) for item in moment.media),
        )
