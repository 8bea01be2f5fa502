"""Which file a pipeline's name stands for."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from triptych.core.config_error import ConfigError, Where
from triptych.core.messages import nearest

FILE = "pipeline.yaml"
"""The pipeline file of a folder."""

BUILT_IN = ("sketch",)
"""The models that ship with Triptych."""

SUFFIXES = (".yaml", ".yml", ".json")


def builtin(name: str) -> Path:
    """The folder of a built-in model. Raises KeyError for another name."""
    if name not in BUILT_IN:
        raise KeyError(name)
    return Path(__file__).parents[2] / "models" / name / "pipeline"


def unfiled_folder(source: str | PathLike[str]) -> Path | None:
    """The folder without a pipeline file that `source` names; None for anything else."""
    text = fspath(source)
    if text in BUILT_IN:
        return None
    folder = Path(text).expanduser()
    try:
        return folder if folder.is_dir() and not (folder / FILE).is_file() else None
    except (OSError, ValueError):
        return None


def locate(source: str | PathLike[str]) -> Path:
    """The YAML file of a folder, of a file's path, or of a built-in model's name.

    Raises ConfigError when there is none.
    """
    text = fspath(source)
    if text in BUILT_IN:
        return builtin(text) / FILE
    path, where = Path(text).expanduser(), Where(text)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError:
        raise ConfigError(where, "is not a path that can be read") from None
    if is_folder:
        if (path / FILE).is_file():
            return path / FILE
        hint = "name the YAML file itself, or a folder with graphs (*.onnx)"
        if (path / "config.json").is_file():
            hint = f"it looks like a checkpoint: triptych export {text} OUT makes a pipeline of it"
        raise ConfigError(where, f"this folder has no {FILE}", hint=hint)
    if not is_file:
        raise ConfigError(
            where,
            "there is no such file or folder, and no built-in model of that name",
            nearest=_neighbour(path) or nearest(text, BUILT_IN),
            known=BUILT_IN,
        )
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(where, "is not a YAML file", hint=f"known endings: {', '.join(SUFFIXES)}")
    return path


def _neighbour(path: Path) -> str | None:
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:
        return None
    close = nearest(path.name, names)
    return str(path.with_name(close)) if close else None
