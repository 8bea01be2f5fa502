"""A whole pipeline as its file and flags describe it, checked, nothing loaded yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from triptych.core.config.errors import Where
from triptych.core.config.part import Part
from triptych.core.config.sections import SessionSettings, StopSettings
from triptych.core.paths import Paths


@dataclass(frozen=True)
class PipelineSpec:
    """What a pipeline is made of.

    source: the YAML file; None when it was given as Python values.
    paths: where its relative paths start and what it may read.
    stages, sampler: in the order in which they run.
    approximate: the user accepts results that depend on how tokens were split.
    """

    source: Path | None
    paths: Paths
    processor: Part
    stages: tuple[Part, ...]
    sampler: tuple[Part, ...]
    strategy: Part
    stop: StopSettings
    session: SessionSettings
    approximate: bool
    _places: Mapping[str, Where] = field(default_factory=dict, repr=False, compare=False)

    def where(self, path: str) -> Where | None:
        """Where `path` stands: ``session.chunk``, ``sampler.top_p.p``, ``decoder.ports``.

        A path that begins with the label of a stage is that stage's. None: nobody wrote it.
        """
        if path in self._places:
            return self._places[path]
        section, _, rest = path.partition(".")
        parts = {part.label: part for part in self.stages}
        if section == "sampler":
            section, _, rest = rest.partition(".")
            parts = {part.label: part for part in self.sampler}
        part = {"processor": self.processor, "strategy": self.strategy, **parts}.get(section)
        if part is None:
            return None
        return part.place(*rest.split(".")) if rest else part.where
