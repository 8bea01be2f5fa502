"""A file of questions, one a line, as `triptych batch` reads them."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ConfigDict

from triptych.core.dataset import Item
from triptych.core.errors import InputError
from triptych.core.limited_dataset import LimitedDataset
from triptych.core.paths import FilePath
from triptych.core.requests.request_json import parse_object, request_of

REFERENCES = ("reference", "references")
FIELDS = (*REFERENCES, "cluster", "task")
"""What a line may have beside the fields of a request."""


class JSONLines(LimitedDataset):
    """Each line is a request as JSON, and what is known of its answer.

    A line has `text` or `messages`, and perhaps `images`, `videos`, `system`, `settings` and `id`,
    as a line of `triptych batch` does; and `reference` (or `references`, a list of which each is
    right), `cluster` and `task`. Paths of pictures start at the file's folder; a picture may also
    be a ``data:`` address. A line without an id is called by its number. Empty lines are skipped.

    An InputError names the file and the line.
    """

    class Settings(LimitedDataset.Settings):
        """file: the path. limit: how many items at most."""

        model_config = ConfigDict(json_schema_extra={"examples": [{"file": "questions.jsonl"}]})

        file: FilePath

    settings: Settings

    def items(self) -> Iterator[Item]:
        """See `LimitedDataset`. Raises InputError."""
        file = self.settings.file
        lines: dict[str, int] = {}
        try:
            with file.open("rb") as opened:
                for number, line in enumerate(opened, 1):
                    if not line.strip():
                        continue
                    try:
                        item = self._item(number, line)
                    except InputError as error:
                        raise InputError(f"{file}:{number}: {error}") from error
                    before = lines.setdefault(item.id, number)
                    if before < number:
                        raise InputError(
                            f"{file}:{number}: the id {item.id!r} is that of line {before}, too"
                        )
                    yield item
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from error
        if not lines:
            raise InputError(f"{file} has no line")

    def _item(self, number: int, line: bytes) -> Item:
        document = parse_object(line)
        request = request_of(document, self.settings.file.parent, also=FIELDS)
        if all(document.get(name) is not None for name in REFERENCES):
            raise InputError("there are both a reference and references; give one of them")
        return Item(
            id=str(number) if request.id is None else request.id,
            request=request,
            reference=next((document[name] for name in REFERENCES if name in document), None),
            cluster=_name(document, "cluster"),
            task=_name(document, "task"),
        )


def _name(document: dict[str, object], field: str) -> str | None:
    value = document.get(field)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{field} must be text or a whole number")
