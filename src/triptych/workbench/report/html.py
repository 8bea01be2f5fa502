"""A report as one page of HTML that needs nothing but itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from triptych.workbench.report.compose import digits_of
from triptych.workbench.report.examples import Example, Examples, examples_of
from triptych.workbench.report.model import Report, Table
from triptych.workbench.report.numbers import plain, signed
from triptych.workbench.report.pictures import Picture, Pictures
from triptych.workbench.report.plots.differences import differences
from triptych.workbench.report.plots.pareto import pareto
from triptych.workbench.report.plots.tasks import by_task
from triptych.workbench.results import Arm, Results, Run, ScoreKind
from triptych.workbench.statistics.comparison import Comparison
from triptych.workbench.statistics.draws import tasks_of

LONGEST = 700
"""Letters of a question or an answer; more are left out."""

MOST_BARS = 150
"""Of the bars by task that are not folded away."""

TEMPLATES = Environment(
    loader=PackageLoader("triptych.workbench.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Section:
    """What there is of one score."""

    name: str
    differences: Markup
    table: Table
    by_task: Markup
    tasks: Table | None


@dataclass(frozen=True)
class Said:
    """An answer as it is shown."""

    text: str
    score: str


@dataclass(frozen=True)
class Card:
    """A question with both answers."""

    id: str
    task: str
    question: str
    reference: str
    pictures: tuple[Picture, ...]
    change: str
    base: Said
    arm: Said


@dataclass(frozen=True)
class Setup:
    """What an arm was: for the base its file, for others what differs from it."""

    number: int
    name: str
    text: str
    digests: tuple[tuple[str, str], ...]


def page(results: Results, comparison: Comparison, report: Report) -> str:
    """Questions and answers are untrusted: everything is escaped, and the page may run nothing."""
    arms = [arm.name for arm in results.arms]
    tasks = tasks_of(results.questions)
    compared = _compared(results, comparison)
    quality = [score for score in results.scores if score.measures == "quality"]
    costs = [score for score in results.scores if score.measures != "quality"]
    pictures = Pictures()
    examples = examples_of(results, compared) if compared else []
    lists = [_cards(found, comparison, compared, pictures) for found in examples if compared]
    tables = dict(zip((score.name for score in quality), report.tasks, strict=False))
    return TEMPLATES.get_template(
        "page.html"
    ).render(
        report=report,
        fronts=[
            Markup(drawn)  # noqa: S704 - matplotlib escapes what it writes
            for cost in costs[:2]
            if quality and (drawn := pareto(comparison, arms, quality[0], cost))
        ],
        sections=[
            Section(
                score.name,
                Markup(differences(comparison, arms, score)),  # noqa: S704
                table,
                Markup(  # noqa: S704
                    by_task(comparison, arms, score, tasks) if score in quality else ""
                ),
                tables.get(score.name),
            )
            for score, table in zip(results.scores, report.scores, strict=True)
        ],
        compared=compared,
        examples=list(zip(examples, lists, strict=True)),
        pictures=pictures,
        setups=list(_setups(results.arms)),
        base=comparison.base,
        most_bars=MOST_BARS,
    )


def _compared(results: Results, comparison: Comparison) -> ScoreKind | None:
    """The first score of quality on which arms differ: examples are chosen by it."""
    differing = {d.score.name for d in comparison.differences if d.differing}
    for score in results.scores:
        if score.measures == "quality" and score.name in differing:
            return score
    return None


def _cards(
    examples: Examples, comparison: Comparison, score: ScoreKind, pictures: Pictures
) -> tuple[list[Card], list[Card]]:
    digits = digits_of(comparison, score)

    def card(example: Example) -> Card:
        question = example.question
        shown = [pictures.add(data) for data in question.images]
        return Card(
            id=question.id,
            task=question.task or "",
            question=_cut(question.question),
            reference=_cut(_reference(question.reference)),
            pictures=tuple(picture for picture in shown if picture),
            change=signed(example.change, digits),
            base=_said(example.base, score, digits),
            arm=_said(example.arm, score, digits),
        )

    return [card(example) for example in examples.worst], [card(e) for e in examples.best]


def _said(run: Run, score: ScoreKind, digits: int) -> Said:
    text = run.text if run.text is not None else run.error or ""
    return Said(_cut(text), plain(run.scores.get(score.name), digits))


def _reference(reference: object) -> str:
    if isinstance(reference, (list, tuple)):
        return " / ".join(map(str, reference))
    return str(reference)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _setups(arms: tuple[Arm, ...]) -> Iterator[Setup]:
    base = arms[0]
    for number, arm in enumerate(arms):
        text, digests = arm.config, arm.digests
        if arm is not base:
            lines = difflib.unified_diff(
                base.config.splitlines(), arm.config.splitlines(), lineterm="", n=2
            )
            # The first two name files.
            text = "\n".join(list(lines)[2:])
            digests = {
                name: digest
                for name, digest in arm.digests.items()
                if base.digests.get(name) != digest
            }
        yield Setup(number, arm.name, text, tuple(digests.items()))
