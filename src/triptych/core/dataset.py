"""The interface of a dataset: questions with known answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from triptych.core.request import Request


@dataclass(frozen=True)
class Item:
    """One question.

    id: unique in its dataset, and the same every time. request: what is asked.
    reference: what a metric compares the reply with; anything that JSON has a form for.
    cluster: items that are not independent of each other, such as questions about one picture,
        have the same; a confidence interval counts clusters. None: the item is by itself.
    task: the group of items that a report shows apart from others, such as ``count``.
    """

    id: str
    request: Request
    reference: object
    cluster: str | None = None
    task: str | None = None


class Dataset(Protocol):
    """Items in an order that stays. A component of the kind `datasets`."""

    def __iter__(self) -> Iterator[Item]:
        """From the first one, each time."""
        ...
