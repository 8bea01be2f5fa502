"""Which arms one process answers for: as many as have room in memory together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from triptych.core.config.digests import files_read
from triptych.core.config.spec import PipelineSpec

Files = Mapping[Hashable, int]
"""The sizes in bytes of files, or of copies of files, by what tells them apart."""


def files_and_sizes(spec: PipelineSpec) -> Files:
    """What a pipeline reads, about all of which it has in memory once it runs."""
    return {path.resolve(): path.stat().st_size for path in files_read(spec)}


def grouped(
    arms: Sequence[tuple[str, Files]], most_bytes: int, always: Files | None = None
) -> list[tuple[str, ...]]:
    """The names of arms in groups, in their order, whose files together are at most `most_bytes`.

    A file that several of a group read counts once. always: files that are read in every group.
    An arm that is too large is alone.
    """
    groups: list[tuple[str, ...]] = []
    names: list[str] = []
    held: dict[Hashable, int] = {}
    for name, files in arms:
        together = {**(always or {}), **held, **files}
        if names and sum(together.values()) > most_bytes:
            groups.append(tuple(names))
            names, held = [], {}
        names.append(name)
        held |= files
    return [*groups, tuple(names)] if names else groups
