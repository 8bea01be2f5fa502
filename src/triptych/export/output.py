"""The folder that an export writes: complete under its name, or not there at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triptych.core.errors import TriptychError

# What the export was made from, and the digest of each file that a person may have edited since.
RECORD = "export.json"
EDITABLE = "pipeline.yaml"


class OutputError(TriptychError):
    """A folder that an export must not be written to."""


@contextmanager
def output_folder(out: Path, record: Mapping[str, Any]) -> Iterator[Path]:
    """Gives a temporary folder beside `out`, which takes that name when the block is done.

    A folder that is empty or an untouched earlier export is replaced. Raises OutputError, before
    anything is written, for any other.
    """
    refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        new = staging / "new"
        new.mkdir()
        yield new
        _write_record(new, record)
        _replace(out, new, aside=staging / "old")
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_room(folder: Path, size: int) -> None:
    """Raises OutputError unless so many bytes fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OutputError(
            f"{folder.parent.parent}: the graphs take {size / 1e9:.1f} GB, and only "
            f"{free / 1e9:.1f} GB are free there."
        )


def _replace(out: Path, new: Path, *, aside: Path) -> None:
    """Gives `new` the name `out`; what was there goes aside, and comes back if that fails."""
    if not out.exists():
        new.rename(out)
        return
    out.rename(aside)
    try:
        new.rename(out)
    except BaseException:
        aside.rename(out)
        raise


def refuse_foreign(out: Path) -> None:
    """Raises OutputError unless `out` is absent, empty, or an export that nobody changed."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise OutputError(f"{out}: not a folder. Choose another OUT.")
    if not out.exists() or not any(out.iterdir()):
        return
    record = read_record(out)
    if record is None:
        raise OutputError(
            f"{out}: this folder holds other things than an export, which would be lost. "
            f"Choose another OUT, or empty it."
        )
    foreign = sorted({path.name for path in out.iterdir()} - {RECORD, *record["files"]})
    if foreign:
        raise OutputError(
            f"{out}: {', '.join(foreign)} did not come from the export that is there and would be "
            f"lost. Move them away, or choose another OUT."
        )
    if _digest(out / EDITABLE) != record["files"].get(EDITABLE):
        raise OutputError(
            f"{out / EDITABLE}: this file was edited since the export and would be lost. "
            f"Move it away, or choose another OUT."
        )


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the export in this folder, or None if it is not one."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("files"), dict)
    return record if whole else None


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    names = sorted(path.name for path in folder.iterdir())
    files = {name: _digest(folder / name) if name == EDITABLE else None for name in names}
    text = json.dumps({**record, "files": files}, indent=2) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
