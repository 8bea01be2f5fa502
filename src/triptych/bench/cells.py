"""The rows and cells that tables, Markdown and plots have in common."""

from __future__ import annotations

from collections.abc import Iterator

from triptych.bench.measurement import Result, Unit
from triptych.bench.report import Report, machine
from triptych.bench.spread import Spread

GIGA = 1e9

NODES = 3
"""Kinds of nodes that are named as those which take most time."""


def quantity(value: float, unit: Unit) -> str:
    """A value with its unit, in three figures: ``87.3 ms``, ``57.1 tok/s``, ``1.39 GB``."""
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"
    if unit == "bytes":
        return f"{value / GIGA:.2f} GB" if value >= GIGA else f"{value / 1e6:.0f} MB"
    return f"{value:.3g} tok/s" if value < 1e3 else f"{value:,.0f} tok/s"  # noqa: PLR2004


def measured(spread: Spread, unit: Unit) -> str:
    """The median, and from where to where the values reached."""
    least, most = (quantity(value, unit).split()[0] for value in (spread.least, spread.most))
    if quantity(spread.least, unit).split()[1:] != quantity(spread.median, unit).split()[1:]:
        least = quantity(spread.least, unit)
    if quantity(spread.most, unit).split()[1:] != quantity(spread.median, unit).split()[1:]:
        most = quantity(spread.most, unit)
    return f"{quantity(spread.median, unit)} ({least} to {most})"


def header(report: Report) -> list[str]:
    """The names of the columns."""
    cells = ["measure", report.own, "of the floor"]
    for peer in report.peers:
        cells += [peer, "better by"]
    return cells


def rows(report: Report) -> Iterator[list[str]]:
    """One row per measure. A ratio has its interval behind it."""
    for result in report.results:
        yield [result.measure.name, *_cells(report, result)]


def remarks(report: Report) -> Iterator[str]:
    """What a reader should know: the machine, what ran, how the intervals were made."""
    limits, here = report.limits, machine()
    instructions = ", ".join(here["instructions"])
    yield (
        f"{here['architecture']}, {report.threads} of {here['cores']} cores"
        + (f", {instructions}" if instructions else "")
        + f": reads {limits.bandwidth / GIGA:.1f} GB/s, multiplies {limits.float32 / GIGA:,.0f} "
        f"GFLOP/s in float32 and {limits.int8 / GIGA:,.0f} GOP/s in int8"
    )
    for label, runtime in report.runtimes.items():
        yield f"{label}: {runtime}"
    sure = [
        ratio
        for result in report.results
        for peer in report.peers
        if (ratio := result.ratio(report.own, peer))
    ]
    if sure:
        least = min(ratio.confidence for ratio in sure)
        yield (
            "Better by: the median of the ratios of runs that followed each other, and an interval "
            f"of order statistics that holds it with at least {least:.0%}."
        )
    for result in report.results:
        if result.nodes:
            most = [f"{op} {share:.0%}" for op, share in list(result.nodes.items())[:NODES]]
            yield f"{result.measure.name}, time within the graphs: {', '.join(most)}"
    yield from report.notes


def _cells(report: Report, result: Result) -> Iterator[str]:
    unit = result.measure.unit
    own, fraction = result.spread(report.own), result.fraction(report.own)
    yield measured(own, unit) if own else "none"
    yield f"{fraction:.0%}" if fraction is not None else ""
    for peer in report.peers:
        theirs, ratio = result.spread(peer), result.ratio(report.own, peer)
        yield measured(theirs, unit) if theirs else "none"
        yield f"{ratio.median:.2f} x ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else ""
