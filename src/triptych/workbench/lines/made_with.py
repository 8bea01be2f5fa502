"""What an output was made with, in a file beside it: who goes on must have the same."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from triptych import __version__
from triptych.core.config.digests import sha256
from triptych.core.config.resolved import resolved
from triptych.core.config.spec import PipelineSpec
from triptych.core.errors import InputError
from triptych.core.system.whole_file import whole
from triptych.workbench.lines.source import Fingerprint

FORMAT = "triptych-batch"
VERSION = 1
SUFFIX = ".made-with.json"
"""What the name of the file has after the output's."""

CHANGES_NO_TOKEN = (
    "threads",
    "max_batch",
    "cache_memory",
    "feature_cache",
    "prefix_cache",
    "pool",
    "preload",
    "graph_cache",
)
"""Settings of the session that may be others when a batch goes on."""


@dataclass(frozen=True)
class MadeWith:
    """pipeline: resolved, with the digests of its files. plugins: SHA-256 by path.

    settings, seed: those of the command. input: None for one that cannot be read again. version:
    of Triptych, for people.
    """

    pipeline: Mapping[str, Any]
    plugins: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    input: Fingerprint | None = None
    version: str = __version__

    def difference(self, other: MadeWith) -> str | None:
        """The first thing in which another differs that may change an answer; None: nothing."""
        for name in ("pipeline", "plugins", "settings", "seed"):
            found = _difference(getattr(self, name), getattr(other, name), name)
            if found is not None:
                return found
        return None

    def write(self, path: Path) -> None:
        """Write it at once or not at all. Raises InputError."""
        text = json.dumps({"format": FORMAT, "format_version": VERSION, **asdict(self)}, indent=2)
        try:
            with whole(path) as part, part.open("w", encoding="utf-8") as file:
                file.write(f"{text}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error

    @classmethod
    def read(cls, path: Path) -> MadeWith | None:
        """Read it; None where there is none. Raises InputError for what is not such a file."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            given = document["input"]
            found = cls(
                **{one.name: document[one.name] for one in fields(cls) if one.name != "input"},
                input=None if given is None else Fingerprint(**given),
            )
            known = (document["format"], document["format_version"]) == (FORMAT, VERSION)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, RecursionError):
            known = False
        if not known:
            raise InputError(
                f"{path}: is not what this triptych batch writes beside its output; "
                "name another output, or remove both to begin anew"
            )
        return found


def pipeline_facts(spec: PipelineSpec) -> dict[str, Any]:
    """A resolved pipeline without what changes no answer: its place, and how fast it is run."""
    from ruamel.yaml import YAML

    document: dict[str, Any] = YAML(typ="safe", pure=True).load(resolved(spec))
    del document["root"]
    session = document["session"]
    document["session"] = {k: v for k, v in session.items() if k not in CHANGES_NO_TOKEN}
    # As it is when it comes back from JSON.
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def plugin_facts(plugins: Sequence[Path]) -> dict[str, str]:
    """The SHA-256 of each file."""
    return {str(plugin): sha256(plugin) for plugin in plugins}


def _difference(mine: Any, other: Any, place: str) -> str | None:
    """Where two plain values differ first."""
    if isinstance(mine, Mapping) and isinstance(other, Mapping):
        for key in {**mine, **other}:
            found = _difference(mine.get(key), other.get(key), f"{place}.{key}")
            if found is not None:
                return found
        return None
    if isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        for index, (one, another) in enumerate(zip(mine, other, strict=True)):
            found = _difference(one, another, f"{place}[{index}]")
            if found is not None:
                return found
        return None
    return None if mine == other else f"{place} was {_shown(mine)} and is {_shown(other)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    most = 60
    return text if len(text) <= most else f"{text[:most]}..."
