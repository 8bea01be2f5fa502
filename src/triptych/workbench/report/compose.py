"""From results and their comparison to what is said."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from triptych.core.counted import counted
from triptych.workbench.report.model import Finding, Report, Row, Table, Verdict
from triptych.workbench.report.numbers import (
    NOTHING,
    chance,
    decimals_for,
    percent,
    plain,
    signed,
    span,
)
from triptych.workbench.results import Results, ScoreKind
from triptych.workbench.statistics.bootstrap import SEED
from triptych.workbench.statistics.comparison import Comparison, Correction, Difference
from triptych.workbench.statistics.draws import cluster_of, tasks_of
from triptych.workbench.statistics.estimate import Estimate

CORRECTIONS: Mapping[Correction, str] = {
    "holm": "Holm",
    "bonferroni": "Bonferroni",
    "fdr_bh": "Benjamini-Hochberg",
}
MARKS: Mapping[Verdict, str] = {"better": "▲", "worse": "▼", "same": "=", "unsure": "", "": ""}
"""Beside a difference, so that it does not take colours to tell."""
FEW_CLUSTERS = 20
"""Below it t intervals are rough where clusters differ in size (Cameron and Miller 2015)."""
ERRORS_SHOWN = 5
NAMED = 5
"""Arms that a finding names one by one; the table has them all."""


def compose(results: Results, comparison: Comparison) -> Report:
    """What is to be said of them."""
    return Report(
        title=f"Ablation: {counted(len(results.arms), 'arm')}",
        facts=tuple(_facts(results, comparison)),
        findings=tuple(_finding(comparison, score, results) for score in results.scores),
        arms=_arms(results, comparison),
        scores=tuple(_score(results, comparison, score) for score in results.scores),
        tasks=tuple(_tasks(results, comparison)),
        failures=_failures(results),
        method=tuple(_method(results, comparison)),
        about=Table(
            "Versions and machine",
            ("of", "what it was"),
            tuple(Row((name, text)) for name, text in results.about.items()),
            words=2,
        ),
    )


def changes_of(changes: Mapping[str, Any]) -> str:
    """``sampler.temperature: 0.7; sampler.top_p: 0.9``."""
    return "; ".join(f"{path}: {_value(value)}" for path, value in changes.items())


def digits_of(comparison: Comparison, score: ScoreKind) -> int:
    """Decimals with which all numbers of a score are written."""
    return decimals_for(
        level.estimate.mean
        for level in comparison.levels
        if level.score.name == score.name and level.task is None
    )


def direction(score: ScoreKind) -> str:
    """Which way is good."""
    return "lower is better" if score.lower_is_better else "higher is better"


def _value(value: Any) -> str:
    """On one line, as YAML would have it."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_value(one)}' for key, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _facts(results: Results, comparison: Comparison) -> Iterator[str]:
    yield counted(len(results.questions), "question")
    clusters = len({cluster_of(question) for question in results.questions})
    if clusters < len(results.questions):
        yield f"in {counted(clusters, 'cluster')}"
    draws = _draws(results)
    if draws > 1:
        yield f"{counted(draws, 'draw')} of each answer"
    yield counted(len(results.runs), "run")
    failed = sum(comparison.failures.values())
    yield f"{failed:,} failed" if failed else "none failed"


def _draws(results: Results) -> int:
    """Answers to each question by each arm."""
    return len({(run.seed, run.repeat) for run in results.runs})


def _finding(comparison: Comparison, score: ScoreKind, results: Results) -> Finding:
    digits = digits_of(comparison, score)
    found = [
        difference
        for arm in results.arms
        if (difference := comparison.difference(arm.name, score.name))
    ]
    if not found:
        return Finding(score.name, (("", "Nothing to compare with the base."),))
    told = list[tuple[Verdict, str]]()
    for kind, word in (("worse", "Worse"), ("better", "Better")):
        those = [difference for difference in found if difference.verdict == kind]
        those.sort(key=lambda difference: -abs(difference.estimate.mean))
        if those:
            named = [_named(difference, digits) for difference in those[:NAMED]]
            if len(those) > NAMED:
                named.append(f"and {counted(len(those) - NAMED, 'other')}")
            told.append((those[0].verdict, f"{word}: {'; '.join(named)}."))
    unsure = [difference for difference in found if difference.verdict == "unsure"]
    if unsure:
        most = _most(score, results)
        told.append(("unsure", _not_told(unsure, digits, most, others=len(unsure) < len(found))))
    same = [difference.arm for difference in found if difference.verdict == "same"]
    if same:
        told.append(("same", f"The same on every question: {'; '.join(same)}."))
    return Finding(score.name, tuple(told))


def _named(difference: Difference, digits: int) -> str:
    found = difference.estimate
    return (
        f"{difference.arm} by {signed(found.mean, digits)} "
        f"({span(found.low, found.high, digits, sign=True)})"
    )


def _most(score: ScoreKind, results: Results) -> float:
    """The largest difference that there can be: 1 of a score that is a share."""
    values = [run.scores[score.name] for run in results.runs if score.name in run.scores]
    return 1.0 if all(0 <= value <= 1 for value in values) else math.inf


def _not_told(unsure: Sequence[Difference], digits: int, most: float, *, others: bool) -> str:
    """That arms were not told apart, and which of their differences would have been.

    most: the largest difference that there can be; with few clusters not even that would show.
    """
    who = counted(len(unsure), "other arm" if others else "arm")
    text = f"No difference beyond chance: {who}"
    smallest = [d.smallest for d in unsure if d.smallest is not None and d.smallest <= most]
    if not smallest:
        return f"{text}; there is too little to tell."
    low, high = plain(min(smallest), digits), plain(max(smallest), digits)
    size = low if low == high else f"{low} to {high}"
    return f"{text}; a true one of {size} would probably have shown."


def _arms(results: Results, comparison: Comparison) -> Table:
    rows = tuple(
        Row(
            (
                str(number),
                arm.name,
                changes_of(arm.changes) or NOTHING,
                f"{comparison.runs.get(arm.name, 0):,}",
                f"{comparison.failures.get(arm.name, 0):,}",
            )
        )
        for number, arm in enumerate(results.arms)
    )
    return Table("Arms", ("#", "arm", "what differs", "runs", "failed"), rows, words=3)


def _score(results: Results, comparison: Comparison, score: ScoreKind) -> Table:
    method, digits = comparison.method, digits_of(comparison, score)
    sure = percent(1 - method.alpha)
    arms = [arm.name for arm in results.arms]
    levels = [level for arm in arms if (level := comparison.level(arm, score.name))]
    found = [comparison.difference(level.arm, score.name) for level in levels]
    binary = any(difference and difference.mcnemar for difference in found)
    samples = [
        _sample((difference or level).estimate)
        for level, difference in zip(levels, found, strict=True)
    ]
    varies = len(set(samples)) > 1
    header = ["arm", "mean", sure, "difference", sure, "bootstrap", "p"]
    header += [f"p ({CORRECTIONS[method.correction]})", *(["McNemar"] if binary else [])]
    header += ["detectable", *(["questions"] if varies else [])]
    rows = list[Row]()
    for level, difference, sample in zip(levels, found, samples, strict=True):
        mean = level.estimate
        cells = [level.arm, plain(mean.mean, digits), span(mean.low, mean.high, digits)]
        if difference is None:
            cells += [NOTHING] * (len(header) - len(cells) - varies)
        else:
            cells += _differs(difference, digits, binary=binary)
        cells += [sample] if varies else []
        rows.append(Row(tuple(cells), difference.verdict if difference else ""))
    note = f"Differences from {comparison.base} are paired, question by question"
    if varies:
        note += ". Questions: how many, in how many clusters."
    elif samples:
        questions, _, clusters = samples[0].partition(" in ")
        ones = "cluster" if clusters == "1" else "clusters"
        note += f": {questions} questions{clusters and f' in {clusters} {ones}'}."
    if binary:
        note += " McNemar: in brackets, answers that only the arm, and only the base got right."
    return Table(f"{score.name} ({direction(score)})", tuple(header), tuple(rows), note=note)


def _differs(difference: Difference, digits: int, *, binary: bool) -> Iterator[str]:
    found, mcnemar = difference.estimate, difference.mcnemar
    yield f"{signed(found.mean, digits)} {MARKS[difference.verdict]}".rstrip()
    yield span(found.low, found.high, digits, sign=True)
    low, high = difference.bootstrap or (None, None)
    yield span(low, high, digits, sign=True)
    yield chance(difference.p)
    yield chance(difference.corrected)
    if binary:
        yield f"{chance(mcnemar.p)} ({mcnemar.wins} : {mcnemar.losses})" if mcnemar else NOTHING
    yield plain(difference.smallest, digits)


def _sample(found: Estimate) -> str:
    """``120``, or ``120 in 40`` clusters."""
    if found.items == found.clusters:
        return f"{found.items:,}"
    return f"{found.items:,} in {found.clusters:,}"


def _tasks(results: Results, comparison: Comparison) -> Iterator[Table]:
    tasks = tasks_of(results.questions)
    if not tasks:
        return
    counts = Counter(question.task for question in results.questions)
    header = ("arm", *(f"{task} ({counts[task]})" for task in tasks))
    for score in results.scores:
        if score.measures != "quality":
            continue
        digits = digits_of(comparison, score)
        rows = list[Row]()
        for arm in results.arms:
            cells = [arm.name]
            for task in tasks:
                level = comparison.level(arm.name, score.name, task)
                difference = comparison.difference(arm.name, score.name, task)
                cell = plain(level.estimate.mean if level else None, digits)
                if difference and difference.differing:
                    mark = MARKS[difference.verdict].replace("=", "")
                    cell += f" ({signed(difference.estimate.mean, digits)}{mark})"
                cells.append(cell)
            rows.append(Row(tuple(cells)))
        note = (
            "In brackets: the difference from the base; ▲ and ▼ where it is beyond chance after "
            "correction for all arms and tasks. After a task: its questions."
        )
        yield Table(f"{score.name} by task", header, tuple(rows), note=note)


def _failures(results: Results) -> Table | None:
    errors = Counter((run.arm, run.error) for run in results.runs if run.error is not None)
    if not errors:
        return None
    ranked = sorted(errors.items(), key=lambda entry: (-entry[1], entry[0]))
    rows = [Row((arm, error, str(count))) for (arm, error), count in ranked[:ERRORS_SHOWN]]
    hidden = len(ranked) - len(rows)
    note = "Where a score is missing, the question is left out of it and of its differences."
    if hidden:
        note += f" {counted(hidden, 'other message')} not shown."
    return Table("Failures", ("arm", "error", "runs"), tuple(rows), words=2, note=note)


def _method(results: Results, comparison: Comparison) -> Iterator[str]:
    method = comparison.method
    clusters = len({cluster_of(question) for question in results.questions})
    yield (
        "Each arm is compared with the base question by question, seed by seed; draws are averaged "
        "within a question first (Miller, arXiv 2411.00640)."
    )
    yield (
        f"Intervals at {percent(1 - method.alpha)} are cluster-robust (CR1), with Student's t on "
        f"clusters - 1 degrees of freedom; a question without a cluster is one by itself."
    )
    if any(score.measures == "memory" for score in results.scores):
        yield (
            "Memory has no interval and no p value: all answers of an arm come from one process, "
            "and two processes of the same arm differ, too."
        )
    if clusters < FEW_CLUSTERS:
        yield f"There are only {clusters} clusters: intervals and p values are rough."
    yield (
        "Shares of right answers have Wilson's interval at the effective sample size. The "
        f"bootstrap draws whole clusters (BCa, {method.resamples:,} resamples, seed {SEED})."
    )
    yield (
        f"p values are two-sided and corrected by {CORRECTIONS[method.correction]} for all arms "
        "and all scores that measure the same (quality, time or memory); those of single tasks "
        "among themselves."
    )
    variants = {d.mcnemar.variant for d in comparison.differences if d.mcnemar}
    if "exact" in variants:
        yield "McNemar's test is the exact one."
    if "clustered" in variants:
        yield (
            "McNemar's test is Obuchowski's for clustered data (1998), since questions of one "
            "cluster, or draws of one question, are not independent."
        )
    yield (
        f"Detectable: the smallest true difference that this set shows {percent(method.power)} of "
        f"the time at p < {method.alpha:g}, before correction."
    )
    yield from _spreads(results, comparison)


def _spreads(results: Results, comparison: Comparison) -> Iterator[str]:
    """Whether more seeds would help, where there are several."""
    draws = _draws(results)
    for score in results.scores:
        shares = list[float]()
        for difference in comparison.differences:
            spread = difference.spread
            if difference.score.name != score.name or difference.task or spread.within is None:
                continue
            total = spread.between + spread.within / draws
            if total:
                shares.append(spread.within / draws / total)
        if shares:
            most = percent(round(max(shares), 2))
            yield (
                f"{score.name}: chance in sampling is at most {most} of the variance of a "
                "difference; more seeds take away no more than that, more questions the rest."
            )
