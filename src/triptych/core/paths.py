"""Where a pipeline's files may be, and how a setting names one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError


@dataclass(frozen=True)
class Paths:
    """Resolves the paths that a pipeline file names.

    root: where relative paths start. here: where ``./x`` starts.
    allow_outside: read files outside of both, too.
    """

    root: Path
    here: Path
    allow_outside: bool = False

    def resolve(self, text: str) -> Path:
        """The file or folder that `text` names.

        Raises PydanticCustomError when it is missing or lies outside of `root` and `here`.
        """
        base = self.here if text.startswith("./") else self.root
        path = (base / Path(text).expanduser()).absolute()
        if not self.allow_outside and not self._inside(path):
            raise PydanticCustomError(
                "path_outside",
                "{path} lies outside of the pipeline's folder; "
                "move it inside, or pass --allow-outside (allow_outside=True)",
                {"path": text},
            )
        if not path.exists():
            raise PydanticCustomError("path_missing", "there is no file {path}", {"path": text})
        return path

    def _inside(self, path: Path) -> bool:
        """Whether `path`, links followed, stays in the root, the file's folder or its HF cache.

        The Hugging Face cache keeps ``snapshots/REVISION/file`` as links into ``blobs``.
        """
        real = path.resolve()
        homes = [self.root.resolve(), self.here.resolve()]
        for home in (self.root.absolute(), self.here.absolute()):
            if home.parent.name == "snapshots":
                homes.append((home.parent.parent / "blobs").resolve())
        return any(real.is_relative_to(home) for home in homes)


def _resolve(value: object, info: ValidationInfo) -> object:
    paths = (info.context or {}).get("paths")
    if isinstance(value, str):
        return paths.resolve(value) if isinstance(paths, Paths) else Path(value)
    return value


FilePath = Annotated[Path, BeforeValidator(_resolve)]
"""The type of a setting that names a file or folder of the pipeline's.

Text is resolved against `Paths` in the validation context (``{"paths": Paths(...)}``);
without one, as when a plugin's tests build the settings by hand, it is taken as it is.
"""
