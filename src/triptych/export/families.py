"""Finds the exporter for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from triptych.core.component import Component
from triptych.core.errors import TriptychError
from triptych.export.exporter import Exporter
from triptych.export.qwen3_vl import manifest


class FamilyError(TriptychError):
    """No exporter takes this checkpoint, or there is none of that name."""


def exporter_for(
    config: Mapping[str, Any], place: str, family: str | None
) -> tuple[str, type[Exporter]]:
    """The name and the class of the exporter for a config.json.

    family: the name of the exporter to use whatever the config says. Raises FamilyError.
    """
    offered = {component.name: component for component in manifest.exporters()}
    known = ", ".join(sorted(offered))
    if family is not None:
        if family not in offered:
            raise FamilyError(f"No model family {family!r}; there is {known}.")
        return family, _load(offered[family])
    for name, component in offered.items():
        exporter = _load(component)
        if exporter.accepts(config):
            return name, exporter
    raise FamilyError(
        f"{place}: no exporter for the model_type {config.get('model_type')!r}; there is {known}. "
        f"If one of them fits, name it with --family."
    )


def _load(component: Component) -> type[Exporter]:
    module, _, name = component.target.partition(":")
    found: type[Exporter] = getattr(import_module(module), name)
    return found
