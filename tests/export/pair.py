"""A checkpoint beside its export, both as running models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.export.checkpoints import TinyShape
from tests.export.graphs import Graphs
from tests.export.reference import Reference
from triptych.export import export_checkpoint


@dataclass
class Pair:
    """A checkpoint of `shape`, its fp32 export in `folder`, and both as running models."""

    shape: TinyShape
    checkpoint: Path
    folder: Path

    def __post_init__(self):
        export_checkpoint(self.checkpoint, self.folder)
        self.graphs = Graphs(self.folder)
        self.reference = Reference(self.checkpoint)
