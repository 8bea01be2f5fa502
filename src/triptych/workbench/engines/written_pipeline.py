"""A pipeline as text that can be sent anywhere and loaded there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from triptych.core.config.spec import PipelineSpec
    from triptych.core.pipeline import Pipeline


@dataclass(frozen=True)
class WrittenPipeline:
    """Plain values: what another process, or another machine, needs to load the same pipeline.

    config: resolved YAML; the files that it names must be at the same paths there. plugins: files
    that offer ``local/NAME``, likewise.
    """

    config: str
    plugins: tuple[Path, ...] = ()

    @classmethod
    def of(cls, spec: PipelineSpec, plugins: Sequence[str | Path] = ()) -> Self:
        """A pipeline with all changes applied. plugins: the files that its catalog was given."""
        from triptych.core.config.resolved import resolved

        files = tuple(Path(plugin).absolute() for plugin in plugins)
        return cls(resolved(spec, digests=False), files)

    def spec(self) -> PipelineSpec:
        """Read it again. Raises ConfigError."""
        from ruamel.yaml import YAML

        from triptych.core.components.catalog import Catalog
        from triptych.core.config.load import load_spec

        return load_spec(
            YAML(typ="safe", pure=True).load(self.config),
            catalog=Catalog(list(self.plugins)),
            # Which files it may name was settled before it was written.
            allow_outside=True,
        )

    def load(self) -> Pipeline:
        """Load it. Raises ConfigError and GraphError."""
        from triptych.core.pipeline import Pipeline

        return Pipeline(self.spec())
