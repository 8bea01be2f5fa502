"""What a sweep file says, with the places where it says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.core.config.items import Item
from triptych.core.config.nodes import Node

BASE_KEYS = ("base", "pipeline")
"""Keys of the matrix whose values are pipelines, as `base` itself is."""


@dataclass(frozen=True)
class Axis:
    """One key of the matrix. path: dotted, or one of `BASE_KEYS`. values: in their order."""

    path: str
    values: tuple[Node, ...]


@dataclass(frozen=True)
class Exclusion:
    """Values that no arm has together. node: the whole entry. values: as YAML has them, by path."""

    node: Node
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Inclusion:
    """An arm beside the matrix. Fields are as they stand in the file; None where they do not.

    base: another pipeline than the sweep's.
    """

    name: Node
    base: Node | None = None
    set: Node | None = None
    insert: Node | None = None
    replace: Node | None = None
    remove: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    file: where it is; relative paths in it start at its folder. base: the pipeline that others are
    compared with. data: of the kind `datasets`. metrics: of the kind `metrics`.
    seeds: each question is asked once with each. repeats: the same again, for times.
    limit: how many of the items; None: all.
    plain: the whole file as YAML has it, without its places.
    """

    file: Path
    base: Node
    data: Item
    metrics: tuple[Item, ...]
    matrix: tuple[Axis, ...]
    exclude: tuple[Exclusion, ...]
    include: tuple[Inclusion, ...]
    seeds: tuple[int, ...]
    repeats: int
    limit: int | None
    plain: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where relative paths start."""
        return self.file.absolute().parent
