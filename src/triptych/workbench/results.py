"""What an ablation found, as a report reads it: plain values, wherever they were stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from triptych.core.metric import Measures


@dataclass(frozen=True)
class Arm:
    """One way of answering.

    name: unique, as the sweep file or the matrix names it; the base arm's is ``base``.
    changes: what differs from the base, by dotted path or edit, as YAML would write the values.
    config: the resolved pipeline, as YAML. digests: SHA-256 of each file it reads, by name.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreKind:
    """One score of a metric.

    name: of the column; unique among all metrics. metric: that gave it.
    """

    name: str
    metric: str
    measures: Measures = "quality"
    lower_is_better: bool = False


@dataclass(frozen=True)
class Question:
    """One item of the data.

    question: the text of the request. reference: as JSON would hold it. task, cluster: see `Item`.
    images: PNG or JPEG bytes, small enough for a page.
    """

    id: str
    question: str
    reference: Any
    task: str | None = None
    cluster: str | None = None
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Run:
    """One arm asked one item with one seed, once.

    text: the answer; None where `error` says why there is none. error: that, or why scores are
    missing. scores: by name; what is missing counts as wrong nowhere: a report says how many runs
    failed.
    """

    arm: str
    item: str
    seed: int
    repeat: int = 0
    text: str | None = None
    error: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """A whole ablation, complete or so far.

    arms: the base first, then in the order of the sweep. questions: in the order of the data.
    runs: any order. about: what a report says of where and with what it was run (versions,
    machine, provider, times), by name.
    """

    arms: tuple[Arm, ...]
    scores: tuple[ScoreKind, ...]
    questions: tuple[Question, ...]
    runs: tuple[Run, ...]
    about: Mapping[str, str] = field(default_factory=dict)
