"""Finds the exporter for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.core.components.catalog import Catalog
from triptych.core.errors import TriptychError
from triptych.export.exporter import Exporter


class FamilyError(TriptychError):
    """No exporter takes this checkpoint."""


def exporter_for(
    config: Mapping[str, Any],
    place: str,
    *,
    family: str | type[Exporter] | None,
    catalog: Catalog,
) -> tuple[str, type[Exporter]]:
    """The name and the class of the exporter for a config.json.

    family: the name of the exporter to use whatever the config says (an installed plugin's
    exporter, `acme/llava`, is only found so), or its class. Raises FamilyError, UnknownComponent
    or PluginFault.
    """
    if isinstance(family, type):
        return family.__name__, family
    if family is not None:
        return family, catalog.find("exporters", family).load()
    known = catalog.names("exporters")
    for name in known:
        exporter: type[Exporter] = catalog.find("exporters", name).load()
        if exporter.accepts(config):
            return name, exporter
    raise FamilyError(
        f"{place}: no exporter for the model_type {config.get('model_type')!r}; there is "
        f"{', '.join(known)}. If one of them fits nevertheless, name it with --family."
    )
