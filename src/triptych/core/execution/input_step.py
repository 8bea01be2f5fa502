"""One token of text enters a sequence that has others, as each token of a reply does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from triptych.core.execution.input_entry import InputEntry
from triptych.core.execution.prepared_call import prepare
from triptych.core.execution.stage_call import Feed, Feeds
from triptych.core.ports import Array
from triptych.core.sequences.sequence import TEXT, Appended
from triptych.core.sequences.sequence import Sequence as TokenSequence
from triptych.core.wiring.wired import Wired


class InputStep:
    """The INPUT stages for such a token: what they are fed is prepared once.

    Stages that read media are skipped, as they are for any text. A stage is fed the same arrays
    for each token, which it cannot write to; what it writes is copied to the sequence's table.
    """

    def __init__(
        self,
        entries: Sequence[InputEntry],
        feeds: Feeds,
        columns: Sequence[str],
        lengths: Mapping[str, int],
    ) -> None:
        """columns: the ports that a table keeps. lengths: of the axes, for a token of text."""
        self._token, self._start, self._source = (np.zeros(1, np.int64) for _ in range(3))
        self._given = {
            "input_ids": _shown(self._token),
            "visual_index": TEXT,
            "start_position": _shown(self._start),
            "source": _shown(self._source),
        }

        def steady(feed: Feed) -> Array:
            return feed.of(self._given[feed.port])

        alone = {entry.wired: entry for entry in entries if not entry.wired.per_media}

        def check(wired: Wired, written: Mapping[str, Array]) -> None:
            alone[wired].check_lengths(written, TEXT)

        calls = self._calls = prepare(alone, feeds, self._given, lengths, steady, check)
        self._reduces = any(alone[one.wired].reduces for one in calls)
        written = {write.port.name for one in calls for write in one.wired.writes}
        known = {*self._given, *written, "next_position"}
        self._columns = frozenset(known.intersection(columns))

    def takes(self, sequence: TokenSequence, new: Appended) -> bool:
        """Whether `new` is one token of text, and the sequence has others in the same columns."""
        return (
            len(new.tokens) == 1
            and not new.media
            and not self._reduces
            and self._columns <= sequence.table.keys()
            and sequence.entered > 0
        )

    def __call__(self, sequence: TokenSequence, new: Appended) -> None:
        """Pass the token through the stages, into the table."""
        table = sequence.table
        self._token[0] = new.tokens[0]
        self._start[0] = table["next_position"].number(sequence.entered - 1)
        self._source[0] = new.start
        ports = self._given.copy()
        for one in self._calls:
            ports.update(one(ports))
        if "next_position" not in ports:
            ports["next_position"] = self._start + 1
        for name, column in table.items():
            column.add(ports[name][column.first] if name in ports else 0)
        sequence.entered += 1


def _shown(array: Array) -> Array:
    """A view of `array` that nobody can write to."""
    view = array.view()
    view.flags.writeable = False
    return view
