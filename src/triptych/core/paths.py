"""Where a pipeline's files may be, and how a setting names one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from triptych.core.dataclass import dataclass
from triptych.core.messages import nearest

MOST_NAMES = 200
"""Files of a folder that are looked at to guess which one was meant."""


class Typed(str):
    """A path that was typed in a flag or a keyword: its ``./`` is the working directory."""

    __slots__ = ()

    @property
    def folder(self) -> Path:
        """Where its ``./`` starts."""
        return Path.cwd()


class Beside(Typed):
    """A path that another file names: its ``./`` is that file's folder."""

    __slots__ = ("_folder",)
    _folder: Path

    def __new__(cls, text: str, folder: Path) -> Self:
        """text: the path as it is written. folder: the other file's."""
        made = super().__new__(cls, text)
        made._folder = folder
        return made

    @property
    def folder(self) -> Path:
        """Where its ``./`` starts."""
        return self._folder


@dataclass(frozen=True)
class Paths:
    """Resolves the paths that a pipeline file names.

    root: where relative paths start. here: where ``./x`` starts, the file's own folder (for
    `Typed` text, the folder that it knows instead).
    allow_outside: read files outside of both, too.
    """

    root: Path
    here: Path
    allow_outside: bool = False

    def resolve(self, text: str) -> Path:
        """The file or folder that `text` names.

        Raises PydanticCustomError when it is missing, lies outside of `root` and `here`, or
        is a link out of them.
        """
        homes = [self.root, self.here]
        base = self.root
        if text.startswith("./"):
            base = text.folder if isinstance(text, Typed) else self.here
            homes.append(base)
        try:
            path = (base / Path(text).expanduser()).absolute()
            real = path.resolve()
            exists = path.exists()
        except (OSError, RuntimeError, ValueError):
            # A NUL character, a name too long for the system, a loop of links, an unknown ~user.
            raise PydanticCustomError(
                "path_invalid", "{path} is not a path that can be read", {"path": repr(text)}
            ) from None
        if not self.allow_outside and not any(real.is_relative_to(h) for h in _readable(homes)):
            raise PydanticCustomError(
                "path_outside",
                "{path} {leads} outside of the pipeline's folder",
                {
                    "path": repr(text),
                    "leads": "is a link to a place" if _inside(path, homes) else "lies",
                    "hint": "move it inside, or pass --allow-outside (allow_outside=True)",
                },
            )
        if path.is_symlink() and not exists:
            raise PydanticCustomError(
                "link_broken",
                "{path} is a link to {target}, which is not there",
                {
                    "path": repr(text),
                    "target": str(path.readlink()),
                    "hint": "put that there, or the file itself in the link's place",
                },
            )
        if not exists:
            raise PydanticCustomError(
                "path_missing",
                "there is no file {path} in {folder}",
                {"path": repr(text), "folder": str(base), "nearest": _nearest(text, base)},
            )
        return path

    def short(self, path: Path) -> str:
        """How a pipeline file with this root names `path`: relative to it, if it is below."""
        if path.is_relative_to(self.root):
            return path.relative_to(self.root).as_posix()
        return str(path)


def _readable(homes: list[Path]) -> Iterator[Path]:
    """The real folders that files may be in: `homes`, and the blobs of their HF caches.

    The Hugging Face cache keeps ``models--ORG--NAME/snapshots/REVISION/file`` as links into
    ``models--ORG--NAME/blobs``. A `blobs` that is itself a link opens nothing: files below it
    have another real path.
    """
    for home in homes:
        place = home.absolute()
        yield place.resolve()
        for folder in (place, *place.parents):
            cache = folder.parent.parent
            if folder.parent.name == "snapshots" and cache.name.startswith("models--"):
                yield cache.resolve() / "blobs"


def _inside(path: Path, homes: list[Path]) -> bool:
    """Whether a path would be inside, were it not for links."""
    plain = Path(os.path.normpath(path))
    return any(plain.is_relative_to(home.absolute()) for home in homes)


def _nearest(text: str, base: Path) -> str | None:
    """A file beside the missing one whose name resembles it."""
    folder = (base / text).parent
    try:
        names = [path.name for path, _ in zip(folder.iterdir(), range(MOST_NAMES), strict=False)]
    except OSError:
        return None
    close = nearest(Path(text).name, names)
    return str(Path(text).with_name(close)) if close else None


def _resolve(value: object, info: ValidationInfo) -> object:
    paths = (info.context or {}).get("paths")
    if isinstance(value, str):
        return paths.resolve(value) if isinstance(paths, Paths) else Path(value)
    return value


FilePath = Annotated[Path, BeforeValidator(_resolve, json_schema_input_type=str)]
"""The type of a setting that names a file or folder of the pipeline's.

Text is resolved against `Paths` in the validation context (``{"paths": Paths(...)}``);
without one, as when a plugin's tests build the settings by hand, it is taken as it is.
"""
