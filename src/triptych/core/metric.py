"""The interface of a metric: scores of a reply. Provisional, see docs/stability.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from triptych.core.dataset import Item
from triptych.core.reply import Reply


class Metric(Protocol):
    """Scores one reply against what is known. A component of the kind `metrics`."""

    def __call__(self, item: Item, reply: Reply) -> Mapping[str, float]:
        """Scores by name, the same names for every item; larger is better."""
        ...
