"""A data set on disk, as Hugging Face's `datasets` saves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from triptych.core.dataset import Item
from triptych.core.errors import InputError
from triptych.core.limited_dataset import LimitedDataset
from triptych.core.messages import guess
from triptych.core.paths import FilePath
from triptych.core.request import Request
from triptych.plugins.datasets.rows import field, filled, label


class MissingDatasets(InputError):
    """The package `datasets` is not installed."""


class HFDataset(LimitedDataset):
    """Rows of a data set that `Dataset.save_to_disk` wrote; nothing is downloaded.

    `question` is a template in which ``{name}`` is a column; `reference` names the column of the
    right answer. A dot goes into a column: ``answers.text``, and for a list of objects each one's.
    Columns of pictures are found by their type, unless `images` names them.

    Needs the extra `datasets`. Raises InputError.
    """

    class Settings(LimitedDataset.Settings):
        """folder: that the data set was saved to. split: of a saved `DatasetDict`.

        question: what is asked. reference, id, task, cluster: columns; without an id a row is
        called by its number. images: columns of pictures. limit: how many items at most.
        """

        folder: FilePath
        split: str | None = None
        question: str = Field(default="{question}", min_length=1)
        reference: str = Field(default="answer", min_length=1)
        images: tuple[str, ...] | None = None
        id: str | None = None
        task: str | None = None
        cluster: str | None = None

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._library = _datasets()

    def items(self) -> Iterator[Item]:
        """See `LimitedDataset`. Raises InputError."""
        given, data = self.settings, self._data()
        columns = self._pictures(data.features) if given.images is None else given.images
        data = data.cast(self._as_files(data.features))
        for number, row in enumerate(data):
            place = f"{given.folder}, row {number}"
            yield Item(
                id=label(row, given.id, place) or str(number),
                request=Request(
                    filled(given.question, row, place),
                    images=[one for name in columns for one in _files(field(row, name, place))],
                ),
                reference=field(row, given.reference, place),
                cluster=label(row, given.cluster, place),
                task=label(row, given.task, place),
            )

    def _data(self) -> Any:
        """The rows, of the right split."""
        folder, split = self.settings.folder, self.settings.split
        try:
            data = self._library.load_from_disk(str(folder))
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} is no saved data set: {error}") from error
        except IndexError as error:
            # What the library says of a table without a row.
            raise InputError(f"{folder} has no row") from error
        if not isinstance(data, Mapping):
            if split is not None:
                raise InputError(f"{folder} has no splits; leave out split: {split}")
            return data
        if split is None and len(data) == 1:
            return next(iter(data.values()))
        if split not in data:
            asked = "has several splits" if split is None else f"has no split {split!r}"
            hint = guess(split or "", list(data))
            raise InputError(f"{folder} {asked}{hint} (splits: {', '.join(data)})")
        return data[split]

    def _pictures(self, features: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns of pictures, and of lists of pictures."""
        return tuple(
            name
            for name, kind in features.items()
            if isinstance(getattr(kind, "feature", kind), self._library.Image)
        )

    def _as_files(self, features: Mapping[str, Any]) -> Any:
        """The same columns, with pictures as files, which the processor opens with its own care."""
        files = self._library.Image(decode=False)
        changed = {
            name: type(kind)(files) if hasattr(kind, "feature") else files
            for name, kind in features.items()
            if name in self._pictures(features)
        }
        return self._library.Features({**features, **changed})


def _files(value: Any) -> list[Any]:
    """The pictures of a column, as bytes or paths."""
    found = value if isinstance(value, list) else [value]
    return [
        (one["bytes"] or one["path"]) if isinstance(one, Mapping) else one
        for one in found
        if one is not None
    ]


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingDatasets(
            'hf_dataset needs the package datasets: pip install "triptych[datasets]"'
        ) from error
    return datasets
