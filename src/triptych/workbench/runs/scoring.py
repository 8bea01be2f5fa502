"""The metrics of a sweep, asked about one answer after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from triptych.core.config.part import Part
from triptych.core.dataset import Item
from triptych.core.errors import PluginError, TriptychError
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

        Names that are not those of the item before are an error, too: a mean would be of few items.
        A score whose name another metric gives, too, is called ``METRIC.NAME``.
        """
        given = [
            (label, metric, _asked(label, metric, item, answer)) for label, metric in self._metrics
        ]
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
        for label, _, scores in given:
            if {one.name for one in kinds if one.metric == label} != self._names(label):
                before = ", ".join(sorted(self._names(label)))
                raise PluginError(
                    f"{label} gave {', '.join(scores) or 'no score'}, and for another item "
                    f"{before or 'none'}; the names are the same for every item"
                )
        return found

    def _names(self, label: str) -> set[str]:
        return {kind.name for kind in self.kinds if kind.metric == label}


def _asked(label: str, metric: Metric, item: Item, answer: Answer) -> Mapping[str, float]:
    try:
        return metric(item, answer)
    except TriptychError:
        raise
    except Exception as error:
        raise PluginError(f"{label}: {type(error).__name__}: {error}") from error


def _measures(metric: Metric) -> Measures:
    measures: Measures = getattr(metric, "measures", "quality")
    return measures
