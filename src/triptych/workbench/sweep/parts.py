"""The data and the metrics of a sweep, found and set."""

from __future__ import annotations

from triptych.core.components.catalog import Catalog
from triptych.core.config.build import Builder
from triptych.core.config.part import Part
from triptych.core.paths import Paths
from triptych.workbench.sweep.sweep import Sweep


def data_part(sweep: Sweep, catalog: Catalog, *, allow_outside: bool = False) -> Part:
    """The dataset. Raises ConfigError at its place in the sweep file."""
    return _builder(sweep, catalog, allow_outside=allow_outside).part(sweep.data, "datasets")


def metric_parts(
    sweep: Sweep, catalog: Catalog, *, allow_outside: bool = False
) -> tuple[Part, ...]:
    """The metrics, in their order. Raises ConfigError at the place of the one that is wrong."""
    builder = _builder(sweep, catalog, allow_outside=allow_outside)
    return tuple(builder.part(item, "metrics") for item in sweep.metrics)


def _builder(sweep: Sweep, catalog: Catalog, *, allow_outside: bool) -> Builder:
    folder = sweep.folder
    return Builder(catalog, Paths(root=folder, here=folder, allow_outside=allow_outside))
