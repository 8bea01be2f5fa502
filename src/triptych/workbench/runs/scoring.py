"""The metrics of a sweep, asked about one answer after the other."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from triptych.core.config.part import Part
from triptych.core.dataset import Item
from triptych.core.errors import PluginError, words_of
from triptych.core.metric import Answer, Measures, Metric
from triptych.workbench.results import ScoreKind
from triptych.workbench.runs.task import Score

MOST = 1000
"""Scores of one metric that have places of their own."""


@dataclass(frozen=True)
class Scored:
    """What metrics gave for one answer. errors: of those that gave nothing, as they are told."""

    scores: tuple[Score, ...]
    errors: tuple[str, ...]


class Scoring:
    """Asks each metric by itself: one that fails loses its own scores and no other's.

    needs_base: whether a metric compares with what the base arm said.
    Raises PluginError for a metric that declares what it cannot.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._metrics: list[tuple[str, Metric]] = [(part.label, part.make()) for part in parts]
        self._lower = {label: _lower_is_better(label, metric) for label, metric in self._metrics}
        self._names: dict[str, set[str]] = {}
        self.needs_base = any(_needs_base(metric) for _, metric in self._metrics)

    @property
    def isolates(self) -> bool:
        """Whether a metric measures times or memory, which other runs would disturb."""
        return any(_measures(metric) != "quality" for _, metric in self._metrics)

    def measures(self, label: str) -> Measures:
        """What a metric measures."""
        return _measures(dict(self._metrics)[label])

    def __call__(
        self, item: Item, answer: Answer, *, without_base: Exception | None = None
    ) -> Scored:
        """What the metrics say of an answer.

        without_base: why it is not known what the base arm said; metrics that compare with that
        fail then. Scores that are no finite numbers fail their metric, and so do names that are not
        those of its first item: a mean would be of few items.
        """
        scores: list[Score] = []
        errors = []
        for number, (label, metric) in enumerate(self._metrics):
            try:
                given = _asked(metric, item, answer, without_base)
                self._check(label, given)
            except Exception as error:  # noqa: BLE001 - one metric must not end the others
                errors.append(f"{label}: {words_of(error)}")
                continue
            lower = self._lower[label]
            for place, (name, value) in enumerate(given.items(), MOST * number):
                kind = ScoreKind(name, label, _measures(metric), name in lower)
                scores.append(Score(kind, place, float(value)))
        return Scored(tuple(scores), tuple(errors))

    def _check(self, label: str, given: Mapping[str, float]) -> None:
        """Raises PluginError for what no metric may give."""
        for name, value in given.items():
            if not math.isfinite(value):
                raise PluginError(f"gave {name} = {value!r}, which is no finite number")
        known = self._names.setdefault(label, set(given))
        if known != set(given):
            before = ", ".join(sorted(known))
            raise PluginError(
                f"gave {', '.join(given) or 'no score'}, and for another item "
                f"{before or 'none'}; the names are the same for every item"
            )


def _asked(
    metric: Metric, item: Item, answer: Answer, without_base: Exception | None
) -> Mapping[str, float]:
    if without_base is not None and _needs_base(metric):
        raise without_base
    return metric(item, answer)


def _needs_base(metric: Metric) -> bool:
    return bool(getattr(metric, "needs_base", False))


def _lower_is_better(label: str, metric: Metric) -> frozenset[str]:
    names = getattr(metric, "lower_is_better", ())
    several = isinstance(names, Collection) and not isinstance(names, str)
    if not (several and all(isinstance(name, str) for name in names)):
        raise PluginError(
            f"metric {label}: lower_is_better is {names!r}; it is a tuple of the names of scores"
        )
    return frozenset(names)


def _measures(metric: Metric) -> Measures:
    measures: Measures = getattr(metric, "measures", "quality")
    return measures
