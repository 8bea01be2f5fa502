"""The folder that an export writes: complete under its name, or not there at all."""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from triptych.core.errors import TriptychError

# What the export was made from, and the digest of each file that a person may have edited since.
RECORD = "export.json"
EDITABLE = "pipeline.yaml"
# In a temporary folder: the file that its process keeps locked, and the export to be replaced.
OWNER = "owner.lock"
OLD = "old"


class OutputError(TriptychError):
    """A folder that an export must not be written to."""


@contextmanager
def output_folder(out: Path, record: Mapping[str, Any]) -> Iterator[Path]:
    """Gives a temporary folder beside `out`, which takes that name when the block is done.

    A folder that is empty or an untouched earlier export is replaced. What an export that was
    killed left behind is removed. Raises OutputError, before anything is written, where `out` is
    any other folder.
    """
    clear_abandoned(out)
    refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with (staging / OWNER).open("wb") as owner:
            _lock(owner)
            new = staging / "new"
            new.mkdir()
            yield new
            _write_record(new, record)
            _replace(out, new, aside=staging / OLD)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def clear_abandoned(out: Path) -> None:
    """Removes the temporary folders of exports to `out` whose process is no more.

    An earlier export that such a process had put aside gets its name back.
    """
    for owner in out.parent.glob(f".{glob.escape(out.name)}.*/{OWNER}"):
        staging = owner.parent
        with suppress(OSError):
            with owner.open("r+b") as file:
                if not _lock(file):
                    continue
                if (staging / OLD).exists() and not out.exists():
                    (staging / OLD).rename(out)
            shutil.rmtree(staging)


def _lock(file: BinaryIO) -> bool:
    """Whether this process has the file now. The system frees it when the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
