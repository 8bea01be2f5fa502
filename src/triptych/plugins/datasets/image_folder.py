"""A folder of pictures with captions."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from triptych.core.dataset import Item
from triptych.core.errors import InputError
from triptych.core.limited_dataset import LimitedDataset
from triptych.core.paths import FilePath
from triptych.core.request import Request
from triptych.core.requests.request_json import parse_object
from triptych.plugins.datasets.rows import field, filled, label

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
TABLES = ("metadata.jsonl", "metadata.csv", "captions.csv")
FILE_FIELDS = ("file_name", "file", "image")
CAPTION_FIELDS = ("caption", "captions", "text", "reference", "answer")

Row = Mapping[str, Any]


class ImageFolder(LimitedDataset):
    """Pictures, each with what is to be said of it.

    A table in the folder says of each picture (`file_name`, from the folder) what the caption is
    (`caption` or `text`), and whatever else a question may name: ``metadata.jsonl`` or
    ``metadata.csv``, as Hugging Face's ImageFolder has them, or ``captions.csv``. A picture that
    has several rows is the cluster of their items. Without a table every picture of the folder,
    and of those in it, has a text file of its name beside it: ``cat.txt`` for ``cat.png``.

    Items are in the order of the table, else in that of the names. Raises InputError.
    """

    class Settings(LimitedDataset.Settings):
        """folder: where they are. question: what is asked; ``{name}`` is a field of the table.

        caption, task: the fields that are the reference, and the task. limit: how many items at
        most.
        """

        folder: FilePath
        question: str = Field(default="Describe this image.", min_length=1)
        caption: str | None = None
        task: str | None = None

    settings: Settings

    def items(self) -> Iterator[Item]:
        """See `LimitedDataset`. Raises InputError."""
        folder = self.settings.folder
        tables = [folder / name for name in TABLES if (folder / name).is_file()]
        if len(tables) > 1:
            raise InputError(f"{tables[0]} and {tables[1].name}: keep one of them")
        rows = list(_table(tables[0]) if tables else _captions(folder))
        if not rows:
            raise InputError(f"{tables[0] if tables else folder} has no picture")
        names = [_name(row, place) for place, row in rows]
        often, seen = Counter(names), Counter[str]()
        for name, (place, row) in zip(names, rows, strict=True):
            seen[name] += 1
            several = often[name] > 1
            yield Item(
                id=f"{name}#{seen[name]}" if several else name,
                request=Request(
                    filled(self.settings.question, row, place),
                    images=[str(_file(folder, name, place))],
                ),
                reference=self._reference(row, place),
                cluster=name if several else None,
                task=label(row, self.settings.task, place),
            )

    def _reference(self, row: Row, place: str) -> Any:
        if self.settings.caption is not None:
            return field(row, self.settings.caption, place)
        return field(row, _first(CAPTION_FIELDS, row), place)


def _captions(folder: Path) -> Iterator[tuple[str, Row]]:
    """Pictures with text files beside them."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    pictures = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURES]
    for path in sorted(pictures, key=lambda path: path.relative_to(folder).as_posix()):
        beside = path.with_suffix(".txt")
        try:
            text = beside.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{path} has no caption: {beside.name} cannot be read ({error.strerror}), and "
                f"there is no {', '.join(TABLES)} in {folder}"
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(f"{beside} is not UTF-8") from error
        yield str(path), {"file_name": path.relative_to(folder).as_posix(), "caption": text.strip()}


def _table(file: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a table, each with its place for messages."""
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as opened:
                reader = csv.DictReader(opened, restkey="", restval="")
                for row in reader:
                    yield f"{file}:{reader.line_num}", row
            return
        with file.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                if line.strip():
                    place = f"{file}:{number}"
                    try:
                        yield place, parse_object(line)
                    except InputError as error:
                        raise InputError(f"{place}: {error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def _name(row: Row, place: str) -> str:
    return Path(str(field(row, _first(FILE_FIELDS, row), place))).as_posix()


def _file(folder: Path, name: str, place: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise InputError(f"{place}: there is no picture {name!r} in {folder}")
    return file


def _first(names: tuple[str, ...], row: Row) -> str:
    """The one of the names that the row has."""
    return next((name for name in names if name in row), names[0])
