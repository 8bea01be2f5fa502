"""Records the ports of one answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import triptych
from triptych.core.errors import PluginError
from triptych.core.observer import Asked, Moment, Observer
from triptych.core.ports import Array
from triptych.recording.passes import Passes
from triptych.recording.writer import Writer

if TYPE_CHECKING:
    from triptych.core.reply import Reply
    from triptych.recording.manifest import Draft


class Recorder(Observer):
    """An observer that writes what it sees to a folder, and a manifest beside it.

    folder: new or empty. ports: the names of those that it records; None: all that are written.
    It serves one reply. Raises RecordingError for a folder that is in use, when the reply begins.
    """

    def __init__(self, folder: str | Path, *, ports: Iterable[str] | None = None) -> None:
        self.folder = Path(folder)
        self.ports: list[str] | None = None if ports is None else list(ports)
        self._writer: Writer | None = None
        self._passes: Passes | None = None
        self._manifest: Draft | None = None

    def begin(self, asked: Asked) -> None:
        """See `Observer`."""
        from triptych.recording.manifest import Draft

        if self._writer is not None:
            raise PluginError(
                f"the recorder of {self.folder} serves one reply; make another for the next"
            )
        self._writer = Writer(self.folder, version=triptych.__version__, ports=self.ports)
        self._passes = Passes(asked.pipeline.wiring, len(asked.prompt.tokens))
        self._manifest = Draft.of(asked, self.folder)

    def saw(self, moment: Moment, written: Mapping[str, Array]) -> None:
        """See `Observer`."""
        assert self._passes is not None  # noqa: S101 - `begin` made both
        assert self._writer is not None  # noqa: S101
        walk, new = self._passes.enter(moment)
        if new:
            self._writer.begin(walk)
        where: dict[str, Any] = {}
        if len(moment.source) != len(walk.source):
            where["tokens"] = tuple(moment.tokens.tolist())
            where["source"] = tuple(moment.source.tolist())
        for port in moment.writes:
            if port.name in written:
                rows = {}
                if "R" in port.axes and moment.rows is not None:
                    rows["rows"] = tuple(moment.rows.tolist())
                self._writer.add(walk, moment.writer, port, written[port.name], **where, **rows)

    def end(self, reply: Reply) -> None:
        """See `Observer`."""
        assert self._writer is not None  # noqa: S101 - `begin` made both
        assert self._manifest is not None  # noqa: S101
        self._passes = None
        if self._writer.failed:
            return
        self._writer.finish(complete=reply.finish_reason != "cancelled")
        self._manifest.finish(reply)
