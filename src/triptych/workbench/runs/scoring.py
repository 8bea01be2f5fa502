"""The metrics of a sweep, asked about one answer after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from triptych.core.config.part import Part
from triptych.core.dataset import Item
from triptych.core.errors import PluginError
from triptych.core.metric import Answer, Measures, Metric
from triptych.workbench.results import ScoreKind


class Scoring:
    """All scores of an answer, by names that are unique among the metrics.

    kinds: what is known of each score once one answer was scored. needs_base: whether a metric
    compares with what the base arm said.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._metrics: list[tuple[str, Metric]] = [(part.label, part.make()) for part in parts]
        self.kinds: tuple[ScoreKind, ...] = ()
        self.needs_base = any(getattr(metric, "needs_base", False) for _, metric in self._metrics)

    @property
    def isolates(self) -> bool:
        """Whether a metric measures times or memory, which other runs would disturb."""
        return any(_measures(metric) != "quality" for _, metric in self._metrics)

    def measures(self, label: str) -> Measures:
        """What a metric measures."""
        return _measures(dict(self._metrics)[label])

    def __call__(self, item: Item, answer: Answer) -> Mapping[str, float]:
        """The scores. Raises PluginError for what is no finite number, and what a metric raises.

        A score whose name another metric gives, too, is called ``METRIC.NAME``.
        """
        given = [(label, metric, metric(item, answer)) for label, metric in self._metrics]
        names = [name for _, _, scores in given for name in scores]
        found: dict[str, float] = {}
        kinds = []
        for label, metric, scores in given:
            lower = getattr(metric, "lower_is_better", ())
            for name, value in scores.items():
                unique = name if names.count(name) == 1 else f"{label}.{name}"
                if not math.isfinite(value):
                    raise PluginError(f"{label} gave {name} = {value!r}, which is no finite number")
                found[unique] = float(value)
                kinds.append(ScoreKind(unique, label, _measures(metric), name in lower))
        self.kinds = self.kinds or tuple(kinds)
        return found


def _measures(metric: Metric) -> Measures:
    measures: Measures = getattr(metric, "measures", "quality")
    return measures
