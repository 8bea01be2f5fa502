"""What datasets with a setting `limit` have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice

from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.dataset import Item


class LimitedDataset(ABC):
    """A `Dataset` of which a sweep may ask the first items alone.

    A subclass says what its items are, and has its settings below these::

        class Lines(triptych.LimitedDataset):
            class Settings(triptych.LimitedDataset.Settings):
                file: triptych.FilePath

            settings: Settings

            def items(self):
                for number, line in enumerate(self.settings.file.open()):
                    yield triptych.Item(str(number), triptych.Request(line), reference=None)
    """

    class Settings(core.Settings):
        """limit: how many items at most; None: all."""

        limit: int | None = Field(default=None, ge=1)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __iter__(self) -> Iterator[Item]:
        """From the first item, each time. Raises what `items` does."""
        return islice(self.items(), self.settings.limit)

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """All items, from the first one; no more of them are made than are asked for."""
