"""An INPUT stage in its place, with what is looked up of it for every token."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.core.errors import PluginError
from triptych.core.ports import AXES, Array
from triptych.core.wiring.wired import REDUCTIONS, Wired


class InputEntry:
    """An INPUT stage.

    reduces: it is a visual-token reducer.
    """

    def __init__(self, wired: Wired) -> None:
        self.wired = wired
        self.reduces = any(write.port.name in REDUCTIONS for write in wired.writes)
        self._axes = [
            (write.port.name, write.name, place, axis)
            for write in wired.writes
            for place, axis in enumerate(write.port.axes)
            if axis in ("S", "N")
        ]

    def check_lengths(self, written: Mapping[str, Array], visual: Array) -> None:
        """Whether what the stage wrote has one row per token, or per visual row."""
        for port, name, place, axis in self._axes:
            value = written.get(port)
            if value is None:
                continue
            length = len(visual) if axis == "S" else int((visual >= 0).sum())
            given = value.shape[place]
            if given != length:
                raise PluginError(
                    f"stage {self.wired.label} wrote {name!r} with {given} {AXES[axis]}, "
                    f"where {length} entered"
                )
