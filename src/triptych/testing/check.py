"""Checks by name: what each kind of component promises, one promise at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from triptych.testing.subject import Subject


def _always(subject: Subject) -> bool:
    del subject
    return True


def declares_neutral(subject: Subject) -> bool:
    """Whether the component says with which settings it changes nothing."""
    return subject.neutral is not None


@dataclass(frozen=True)
class Check:
    """One promise.

    name: as in ``expected_failures``. run: returns, or raises AssertionError with a sentence
    that says what was broken. applies: whether a component makes this promise at all.
    """

    name: str
    run: Callable[[Subject], None]
    applies: Callable[[Subject], bool] = _always

    def __call__(self, subject: Subject) -> None:
        """Check one component."""
        self.run(subject)

    def __str__(self) -> str:
        return self.name


HOMES = {
    "sampler": "sampler_checks",
    "stage": "stage_checks",
    "strategy": "strategy_checks",
    "processor": "processor_checks",
    "exporter": "exporter_checks",
    "cache": "cache_checks",
    "dataset": "dataset_checks",
    "metric": "metric_checks",
}
"""The module of this package that has ``CHECKS`` of a kind."""


def checks_of(kind: str) -> Sequence[Check]:
    """All checks of a kind, in the order in which they are run."""
    found: Sequence[Check] = import_module(f"triptych.testing.{HOMES[kind]}").CHECKS
    return found


def check(subject: Subject) -> None:
    """Run all checks that apply; the first broken promise is an AssertionError."""
    for one in checks_of(subject.kind):
        if one.applies(subject):
            one(subject)
