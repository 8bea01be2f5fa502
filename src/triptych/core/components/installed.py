"""Installed plugins: the entry points of the group ``triptych``, read one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from triptych.core.components.entry import LOCAL, Origin, PluginFault, cause_of
from triptych.core.components.hookspecs import PROJECT
from triptych.core.components.manifest import NAME, Manifest
from triptych.core.dataclass import dataclass

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True)
class Claim:
    """One installed distribution's claim to an owner's name."""

    point: EntryPoint
    origin: Origin

    @property
    def owner(self) -> str:
        """The owner that is claimed: the entry point's name."""
        return self.point.name


def claims() -> tuple[list[Claim], list[PluginFault]]:
    """Every claim in the metadata, and the distributions whose metadata cannot be read.

    Each distribution is read in its own try; `importlib.metadata.entry_points` would let one
    with a broken ``entry_points.txt`` hide all others. Of two installations of one
    distribution the first on the path counts, as it does for imports.
    """
    # Pipelines of built-in components never come here.
    from importlib.metadata import distributions

    found: list[Claim] = []
    faults: list[PluginFault] = []
    seen: set[str] = set()
    for distribution in distributions():
        name = version = None
        try:
            name, version = distribution.metadata["Name"], distribution.version
            canonical = name.lower().replace("_", "-").replace(".", "-")
            if canonical in seen:
                continue
            seen.add(canonical)
            for point in distribution.entry_points:
                if point.group == PROJECT:
                    origin = Origin(point.name, name, version)
                    found.append(Claim(point, origin))
        except Exception as error:  # noqa: BLE001 - foreign metadata may break in any way
            problem = f"has metadata that cannot be read: {cause_of(error)}"
            faults.append(
                PluginFault(problem, origin=Origin(None, name or "without a name", version))
            )
    return sorted(found, key=lambda claim: (claim.owner, str(claim.origin))), faults


def read(rivals: Sequence[Claim]) -> Manifest:
    """Load the plugin of one owner; `rivals` are all claims to it, at least one.

    Raises PluginFault when there are several, the owner's name cannot be used, or the
    entry point cannot be loaded.
    """
    claim = rivals[0]
    if len(rivals) > 1:
        packages = " and ".join(f"{c.origin.distribution} {c.origin.version}" for c in rivals)
        raise PluginFault(
            f"cannot be used: {packages} both claim this owner; uninstall all but one",
            origin=Origin(claim.owner),
        )
    if claim.owner == LOCAL:
        raise PluginFault(
            f"cannot be used: the owner {LOCAL!r} belongs to --plugin files", origin=claim.origin
        )
    if not NAME.fullmatch(claim.owner):
        raise PluginFault(
            "cannot be used: an owner is made of letters, digits, _ and -", origin=claim.origin
        )
    try:
        plugin = claim.point.load()
    except (Exception, SystemExit) as error:
        raise PluginFault(
            f"cannot be used: importing {claim.point.value} raised {cause_of(error)}",
            origin=claim.origin,
        ) from error
    return Manifest(plugin, claim.origin)
