"""Visual-token reducers that look at one medium: called for the rows of each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from triptych.core.errors import PluginError
from triptych.core.execution.media_stages import MediaStages
from triptych.core.execution.stage_call import Feeds, call
from triptych.core.ports import Array, Port
from triptych.core.prompt import Media
from triptych.core.sequences.reduction import ReductionError, check_targets
from triptych.core.wiring.wired import MEDIA_INDEX, Wired


class ItemReducers:
    """Calls reducers that are `per_item`.

    What stays of an image is then the same whatever other images enter with it, and so a turn
    of a chat, a prefix that is shared and a fresh run keep the same rows.

    media: the stages that are run once for each item. declared: every port, by name.
    """

    def __init__(self, media: MediaStages, feeds: Feeds, declared: Mapping[str, Port]) -> None:
        self._media = media
        self._feeds = feeds
        self._declared = declared

    def written(
        self, wired: Wired, ports: Mapping[str, Array], media: Sequence[Media]
    ) -> dict[str, Array]:
        """What a reducer writes for all rows; it is not asked about items that have none left."""
        index = ports[MEDIA_INDEX.name]
        ends = np.searchsorted(index, np.arange(len(media) + 1)).tolist()
        parts = [
            self._of_item(wired, ports, item, slice(begin, end))
            for item, begin, end in zip(media, ends[:-1], ends[1:], strict=True)
            if begin < end
        ]
        given = [part for part in parts if part is not None]
        return {
            write.port.name: np.concatenate(
                [part[write.port.name] for part in given], write.port.axes.index("N")
            )
            for write in wired.writes
            if given and write.port.name in given[0]
        }

    def _of_item(
        self, wired: Wired, ports: Mapping[str, Array], item: Media, rows: slice
    ) -> dict[str, Array] | None:
        """What it writes for the `rows` of one item; None when it lacks what it reads."""
        count = rows.stop - rows.start
        feeds = self._feeds.of(wired, self._own(wired, ports, item, rows), {"N": count, "S": count})
        if feeds is None:
            return None
        # The stage may use its output's memory again.
        written = {name: np.array(value) for name, value in call(wired, feeds).items()}
        _check_lengths(wired, written, count)
        if "merge_rows" in written:
            try:
                check_targets(written["merge_rows"])
            except ReductionError as cause:
                raise PluginError(f"stage {wired.label} wrote {cause}") from cause
            written["merge_rows"] += rows.start
        return written

    def _own(
        self, wired: Wired, ports: Mapping[str, Array], item: Media, rows: slice
    ) -> dict[str, Array]:
        """What the stage reads, of one item."""
        own: dict[str, Array] = {}
        for read in wired.reads:
            name = read.port.name
            if "N" in read.port.axes:
                if name in ports:
                    own[name] = ports[name][_along(self._declared[name], rows)]
            elif name in self._declared:
                own[name] = self._media.given(item, name, wired)
        return own


def _check_lengths(wired: Wired, written: Mapping[str, Array], count: int) -> None:
    """Raises PluginError when the stage wrote another number of rows than an item has."""
    for write in wired.writes:
        name = write.port.name
        length = written[name].shape[write.port.axes.index("N")] if name in written else count
        if length != count:
            raise PluginError(
                f"stage {wired.label} wrote {write.name!r} with {length} merged visual rows, "
                f"where {count} entered"
            )


def _along(port: Port, rows: slice) -> tuple[slice, ...]:
    """The index that takes `rows` of a port."""
    return tuple(rows if axis == "N" else slice(None) for axis in port.axes)
