"""The outcome of a verification."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from triptych.export.verification.comparison import Check, worst


@dataclass(frozen=True)
class Verification:
    """How far an export is from what it is held against.

    measured: every comparison in data-flow order, case by case. notes: what could not be
    compared, and why.
    """

    export: Path
    against: Path
    family: str
    precision: str
    measured: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """One for each stage's port in data-flow order: the worst of its cases."""
        return tuple(worst(cases) for cases in self.by_port.values())

    @property
    def by_port(self) -> dict[tuple[str, str], Sequence[Check]]:
        """What was measured, by stage and port."""
        found: dict[tuple[str, str], list[Check]] = {}
        for one in self.measured:
            found.setdefault((one.stage, one.port), []).append(one)
        return {key: tuple(cases) for key, cases in found.items()}

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.first_failure is None

    @property
    def first_failure(self) -> Check | None:
        """The first check in data-flow order that failed: the stage to look at."""
        return next((one for one in self.checks if not one.passed), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values. An infinite error is the text "Infinity", which JSON can hold."""
        failure = self.first_failure
        return {
            "export": str(self.export),
            "against": str(self.against),
            "family": self.family,
            "precision": self.precision,
            "passed": self.passed,
            "first_failure": None if failure is None else failure.stage,
            "notes": list(self.notes),
            "checks": [
                _plain(one)
                | {"cases": [_plain(case) for case in self.by_port[one.stage, one.port]]}
                for one in self.checks
            ],
        }

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict(), allow_nan=False)


def _plain(one: Check) -> dict[str, Any]:
    values = {
        key: "Infinity" if value == float("inf") else value for key, value in asdict(one).items()
    }
    return values | {"passed": one.passed}
