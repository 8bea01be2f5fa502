"""A whole pipeline as its file and flags describe it, checked, nothing loaded yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from triptych.core.config.build import Builder
from triptych.core.config.chain import SamplingFlags, apply_flags, chain_of
from triptych.core.config.items import Item
from triptych.core.config.nodes import node_of
from triptych.core.config.orders import parse_chain
from triptych.core.config.part import Part
from triptych.core.config.sections import SessionSettings, StopSettings
from triptych.core.config_error import Where
from triptych.core.dataclass import dataclass
from triptych.core.paths import Paths

NO_FLAGS = SamplingFlags()
"""Flags that change nothing."""


@dataclass(frozen=True)
class PipelineSpec:
    """What a pipeline is made of.

    source: the YAML file, or the folder that stood for one; None when it was given as Python
    values. warnings: what a person should know of that folder.
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
    _builder: Builder = field(repr=False, compare=False)
    _chain: tuple[Item, ...] = field(repr=False, compare=False)
    _places: Mapping[str, Where] = field(default_factory=dict, repr=False, compare=False)
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them, in the order of the file."""
        return (self.processor, *self.stages, *self.sampler, self.strategy)

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

    def sampler_for(
        self,
        *,
        flags: SamplingFlags = NO_FLAGS,
        sampler: Sequence[Any] | Mapping[str, Any] | None = None,
    ) -> tuple[Part, ...]:
        """The chain for one call.

        flags: changes of the chain. sampler: another chain, as YAML would write it:
        ``[{"temperature": 0.3}, "draw"]`` or ``{"order": "llamacpp", "min_p": 0.1}``; the flags
        then change that one.
        Raises ConfigError.
        """
        if sampler is None and flags == NO_FLAGS:
            return self.sampler
        section, items = Where("sampler=[...]", path="sampler"), self._chain
        if sampler is not None:
            items = parse_chain(node_of(sampler, section))
        return chain_of(apply_flags(items, flags, self._builder), section, self._builder)
