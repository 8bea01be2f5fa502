"""Fingerprints of the files that a pipeline names, recorded and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from triptych.core.config.nodes import Node, shown
from triptych.core.config.part import Part
from triptych.core.config.second import SecondPipeline
from triptych.core.config_error import ConfigError
from triptych.core.graphs.header import GraphFileError, read_header
from triptych.core.paths import Paths

if TYPE_CHECKING:
    from triptych.core.config.spec import PipelineSpec

FOLDER_FILES = (".json", ".jinja", ".txt", ".model")
"""The files of a folder that are recorded when a setting names the folder (a tokenizer's)."""


def sha256(path: Path) -> str:
    """The hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str:
    """The same, read again only when the file was written meanwhile."""
    state = path.stat()
    return _digest(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(path: Path, _size: int, _written: int) -> str:
    return sha256(path)


def digests_of(spec: PipelineSpec) -> dict[str, str]:
    """The sha256 of every file that a pipeline reads, by its path from the root."""
    return {spec.paths.short(path): digest(path) for path in files_read(spec)}


def files_read(spec: PipelineSpec) -> list[Path]:
    """The files that a pipeline reads, each once."""
    return list(dict.fromkeys(path for part in spec.parts for path in files_of(part)))


def files_of(part: Part) -> Iterator[Path]:
    """The files that a part's settings name, its nested parts' and graphs' weights included."""
    if part.settings is not None:
        for path in _paths(part.settings):
            yield from _files(path)


def check_digests(node: Node, paths: Paths) -> None:
    """Compare recorded digests with the files.

    node: the ``digests`` of a pipeline file, path to sha256. Raises ConfigError for a file that
    is missing, lies outside, or has changed.
    """
    if node.items is None:
        raise ConfigError(node.where, f"{shown(node.value)} is not a mapping of path to sha256")
    for name in node.items:
        child = node.child(name)
        try:
            found = sha256(paths.resolve(name))
        except (OSError, ValueError) as error:
            cause = str(error) if isinstance(error, ValueError) else f"{name!r} cannot be read"
            raise ConfigError(child.where, cause) from None
        if found != child.value:
            raise ConfigError(
                child.where,
                f"{name!r} has changed: its sha256 is {found[:12]}..., not the recorded one",
                hint="remove 'digests' to run with the files as they are",
            )


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, SecondPipeline):
        yield from value.files
    elif isinstance(value, Part):
        yield from _paths(value.settings)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (one for one in sorted(path.iterdir()) if one.suffix in FOLDER_FILES)
        return
    yield path
    with suppress(GraphFileError):
        yield from (path.parent / name for name in sorted(read_header(path).external))
