"""A setting that names another pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from triptych.core.config.locate import BUILT_IN, FILE
from triptych.core.dataclass import dataclass
from triptych.core.paths import Paths

if TYPE_CHECKING:
    from triptych.core.pipeline import Pipeline


@dataclass(frozen=True)
class SecondPipeline:
    """Where it is, and what it may use: what the pipeline that names it may use.

    source: a folder, a YAML file, or the name of a built-in model.
    """

    source: Path | str
    plugins: Sequence[Path] = ()
    allow_outside: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Its pipeline file; none of a built-in model's, or of a folder without one."""
        if not isinstance(self.source, Path):
            return ()
        file = self.source / FILE if self.source.is_dir() else self.source
        return (file,) if file.is_file() else ()

    def load(self) -> Pipeline:
        """Load it. Raises what `triptych.load` raises."""
        from triptych.core.pipeline import load

        return load(self.source, plugins=list(self.plugins), allow_outside=self.allow_outside)


def _second(value: object, info: ValidationInfo) -> SecondPipeline:
    if isinstance(value, SecondPipeline):
        return value
    if not isinstance(value, str) or not value:
        raise PydanticCustomError("path_type", "it is not a pipeline")
    context = info.context or {}
    plugins = context.get("plugins", ())
    paths = context.get("paths")
    if not isinstance(paths, Paths):
        return SecondPipeline(value if value in BUILT_IN else Path(value), plugins)
    source = value if value in BUILT_IN else paths.resolve(value)
    return SecondPipeline(source, plugins, paths.allow_outside)


PipelineSource = Annotated[SecondPipeline, PlainValidator(_second, json_schema_input_type=str)]
"""The type of a setting that names a second pipeline: ``sketch``, or a path as `FilePath` has it.

It is read with the plugin files and the rights of the one that names it; relative paths in it start
at its own folder. Nothing of it is read before `SecondPipeline.load`.
"""
