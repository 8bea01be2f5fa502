"""What a report says, however it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["better", "worse", "same", "unsure", ""]
"""Of an arm against the base; empty where there is nothing to judge."""


@dataclass(frozen=True)
class Row:
    """cells: as many as the table's header has names."""

    cells: tuple[str, ...]
    verdict: Verdict = ""


@dataclass(frozen=True)
class Table:
    """words: how many columns, from the left, are words; the rest are numbers. note: below it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    words: int = 1
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """What there is to say about one score: sentences, each with the verdict that it tells."""

    score: str
    told: tuple[tuple[Verdict, str], ...]

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(text for _, text in self.told)


@dataclass(frozen=True)
class Report:
    """facts: what was run, in a few words each. findings, scores: one for each score.

    tasks: one table for each score, none where the data has no tasks. failures: runs with an
    error, None if there are none. method: how numbers were made, in sentences. about: where.
    """

    title: str
    facts: tuple[str, ...]
    findings: tuple[Finding, ...]
    arms: Table
    scores: tuple[Table, ...]
    tasks: tuple[Table, ...]
    failures: Table | None
    method: tuple[str, ...]
    about: Table
