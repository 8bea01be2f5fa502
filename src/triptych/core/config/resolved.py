"""The resolved pipeline file: every default filled in, its files fingerprinted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from triptych.core.config.digests import digests_of
from triptych.core.config.locate import BUILT_IN, builtin
from triptych.core.config.part import Part
from triptych.core.config.second import SecondPipeline
from triptych.core.config.spec import PipelineSpec
from triptych.core.paths import Paths


def resolved(spec: PipelineSpec, *, digests: bool = True) -> str:
    """The pipeline as YAML text that runs again from any place.

    Its ``root`` is absolute, or the name of a built-in model. digests: record the sha256 of
    every file that is named; this reads the files whole.
    """
    from ruamel.yaml import YAML

    paths = spec.paths
    document: dict[str, Any] = {
        "format": 1,
        "root": _root(paths.root),
        "processor": _item(spec.processor, paths, label=spec.processor.label),
        "stages": [_item(part, paths) for part in spec.stages],
        "sampler": [_item(part, paths) for part in spec.sampler],
        "strategy": _item(spec.strategy, paths, label=spec.strategy.label),
        "stop": plain(spec.stop, paths),
        "session": plain(spec.session, paths),
        "approximate": spec.approximate,
    }
    if digests:
        document["digests"] = digests_of(spec)
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # typed too narrowly
    yaml.width = 10_000
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _root(root: Path) -> str:
    for name in BUILT_IN:
        if root == builtin(name):
            return name
    return str(root)


def _item(part: Part, paths: Paths, *, label: str | None = None) -> Any:
    """A part as an item; label: the one that goes without saying, in place of the full name."""
    settings = plain(part.settings, paths) if part.settings is not None else {}
    siblings: dict[str, Any] = {}
    if part.label != (label or part.name):
        siblings["as"] = part.label
    if part.ports:
        siblings["ports"] = {
            name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in vars(change).items()
                if value is not None
            }
            for name, change in part.ports.items()
        }
    if part.ignore:
        siblings["ignore"] = list(part.ignore)
    if not settings and not siblings:
        return part.name
    return {part.name: settings, **siblings}


def plain(value: Any, paths: Paths) -> Any:
    """A setting as YAML has it: files by their path from the root, parts as items."""
    if isinstance(value, Part):
        return _item(value, paths)
    if isinstance(value, SecondPipeline):
        value = value.source
    if isinstance(value, Path):
        return paths.short(value)
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {name: plain(getattr(value, name), paths) for name in fields}
    if isinstance(value, dict):
        return {key: plain(item, paths) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, paths) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
