"""What an answer was made of: enough to make it again, and to say what is another now."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import triptych
from triptych.core.config.digests import digest, digests_of
from triptych.core.config.resolved import resolved
from triptych.core.config.spec import PipelineSpec
from triptych.core.system.cpu import cpu_name
from triptych.core.system.file_version import unread_version
from triptych.core.system.whole_file import whole
from triptych.recording.folder import writing
from triptych.recording.index import MANIFEST, RecordingError
from triptych.recording.media import Keeper

if TYPE_CHECKING:
    from triptych.core.observer import Asked
    from triptych.core.reply import Reply

FORMAT = 1
"""The version of the manifest that this release writes, and the only one that it reads."""

PACKAGES = ("onnxruntime", "numpy", "transformers", "tokenizers", "pillow")
"""Packages whose version may change an answer."""

_NUMBERS = re.compile(r"\[\s+-?\d[-\d,\s]*\]")
"""A list of whole numbers, one a line."""


@dataclass(frozen=True)
class Draft:
    """A manifest of an answer that is being made. said: all but the reply."""

    folder: Path
    said: Mapping[str, Any]

    @classmethod
    def of(cls, asked: Asked, folder: Path) -> Self:
        """What is known before the answer; copies the pictures of the request to `folder`."""
        spec, request, prompt = asked.pipeline.spec, asked.request, asked.prompt
        keeper = Keeper(folder)
        said = {
            "format": FORMAT,
            "versions": versions(spec),
            "machine": machine(spec),
            "pipeline": {
                "source": None if spec.source is None else str(spec.source.absolute()),
                "config": resolved(spec, digests=False),
                "digests": digests_of(spec),
                "plugins": plugins(spec),
            },
            "request": None if request is None else keeper.request(request),
            "settings": _plain(asked.settings),
            "stood_in": list(asked.observer.stood_in),
            "prompt": {
                "tokens": prompt.tokens.tolist(),
                "media": [
                    {"kind": item.kind, "digest": item.digest, "rows": len(item.at)}
                    for item in prompt.media
                ],
            },
        }
        return cls(folder, said)

    def finish(self, reply: Reply) -> None:
        """Write the manifest."""
        said = {**self.said, "seed": reply.seed, "reply": reply.to_dict()}
        text = json.dumps(said, ensure_ascii=False, indent=2)
        text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), text)
        with writing(self.folder), whole(self.folder / MANIFEST) as part:
            part.write_text(f"{text}\n", encoding="utf-8", newline="\n")


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read. path: of its file."""

    path: Path
    said: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The manifest in a file, or in the folder of a recording. Raises RecordingError."""
        file = path / MANIFEST if path.is_dir() else path
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecordingError(
                f"{file}: cannot be read: {error.strerror}; `triptych run --record DIR` writes one"
            ) from error
        except ValueError as error:
            raise RecordingError(f"{file}: is not JSON: {error}") from error
        if not isinstance(said, dict) or "pipeline" not in said or "reply" not in said:
            raise RecordingError(f"{file}: is not a manifest that `run --record` wrote")
        fault = unread_version(said.get("format"), FORMAT)
        if fault is not None:
            raise RecordingError(f"{file}: {fault}")
        return cls(file, said)


def versions(spec: PipelineSpec) -> dict[str, str]:
    """What is installed that may change an answer, by name; of plugins that are used, too."""
    found = {"triptych": triptych.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    for part in spec.parts:
        entry = part.entry
        if entry.owner is not None and entry.distribution and entry.version:
            found[entry.distribution] = entry.version
    return found


def machine(spec: PipelineSpec) -> dict[str, Any]:
    """What of this machine may change an answer, without its name."""
    return {
        "cpu": cpu_name(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count() or 1,
        "threads": spec.session.threads,
        "providers": list(spec.session.providers),
    }


def plugins(spec: PipelineSpec) -> dict[str, str]:
    """The sha256 of every plugin file that a pipeline uses, by its absolute path."""
    files = dict.fromkeys(
        part.entry.origin.file for part in spec.parts if part.entry.origin.file is not None
    )
    return {str(file.absolute()): digest(file) for file in files}


def _plain(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float) else str(value)
