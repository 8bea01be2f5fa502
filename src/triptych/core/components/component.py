"""What a plugin's manifest lists: components, as strings that are imported on first use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

INTERFACE_VERSION = 1
"""The version of the component interfaces that this release implements."""

Kind = Literal[
    "processors",
    "stages",
    "samplers",
    "strategies",
    "caches",
    "exporters",
    "datasets",
    "metrics",
]
"""One kind per hook; the hook has the kind's name."""

KINDS: tuple[Kind, ...] = (
    "processors",
    "stages",
    "samplers",
    "strategies",
    "caches",
    "exporters",
    "datasets",
    "metrics",
)


@dataclass(frozen=True)
class Component:
    """One offer of a plugin.

    name: the short name, without the owner (``min_p``; used as ``acme/min_p``).
    target: ``package.module:Class``, imported on first use; ``:Class`` in a ``--plugin`` file.
        The class is called with an instance of its ``Settings``, or without arguments where it
        has none.
    summary: one line for ``triptych plugins``.
    main: the setting that a bare value fills (``- min_p: 0.1``).
    role: samplers only: ``"warp"`` or ``"choose"``.
    api: the interface version it was written for; a later one than ours is refused.
    """

    name: str
    target: str
    summary: str
    main: str | None = None
    role: Literal["warp", "choose"] | None = None
    api: int = INTERFACE_VERSION
