"""What a layout says of the folder that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import onnx_ir as ir

from triptych.core.errors import TriptychError
from triptych.export.checkpoint import Checkpoint


class LayoutError(TriptychError):
    """A layout that is not known, or that has no place for what a model needs."""


class Layout(Protocol):
    """One way to lay a model out in a folder.

    below: the folder of the graphs in there, "" for the folder itself. data: what the files of
    weights have after the name of their graph. apart: whether no file of weights may belong to
    several graphs.
    """

    below: ClassVar[str]
    data: ClassVar[str]
    apart: ClassVar[bool]

    def __init__(self, checkpoint: Checkpoint, precision: str, *, drop_deepstack: bool) -> None: ...

    def graphs(self, graphs: Mapping[str, ir.Model]) -> dict[str, ir.Model]:
        """The graphs of an exporter, under the names and with the ports that the tool wants.

        Changes the graphs that it is given. Raises LayoutError.
        """
        ...

    def finish(self, folder: Path) -> None:
        """Writes what the tool reads beside the graphs; the processor's files are there."""
        ...
