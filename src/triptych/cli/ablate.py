"""`triptych ablate`: many variants of a pipeline, asked the same questions and compared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.progress import Progress
from triptych.cli.reporting import reporting, warn
from triptych.cli.terminal import Waiting, remark, table_console
from triptych.core.counted import counted
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.workbench.runs.ablation import Ablation
    from triptych.workbench.runs.store import Store

WHAT = "What is run"

GIGA = 1e9
MINUTE, HOUR = 60, 3600

EXAMPLES = args.examples(
    ("What would be run, and for how long?", "triptych ablate sweep.yaml --dry-run"),
    ("Run it, or go on with it:", "triptych ablate sweep.yaml --out results"),
    ("A first look, on a few items:", "triptych ablate sweep.yaml --out look --limit 20"),
)


def ablate(  # noqa: PLR0913  # one parameter per flag
    *,
    sweep: Annotated[
        Path, typer.Argument(metavar="SWEEP", help="A YAML file: a pipeline, and what varies.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where results are kept; the same command goes on with what is there.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            metavar=args.NO_VALUE,
            help="Check everything; say what would run, how long, and what it could find.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Items that are asked, in the place of the file's limit.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    engine: args.Engine = args.DEFAULT_ENGINE,
    workers: args.Workers = None,
    plugin: args.Plugin = None,
    allow_outside: args.AllowOutside = False,
    debug: args.Debug = False,
) -> None:
    """Ask variants of a pipeline the same questions, score the answers, and compare.

    The sweep file says what varies; see the page on ablations. Everything is checked before
    anything runs. DIR gets runs.sqlite, results.csv, timings.csv, results.parquet,
    report.md and report.html. Stop it whenever you like: the same command goes on.
    """
    with reporting(debug=debug):
        with Waiting(f"reading {sweep}"):
            from triptych.workbench.runs.ablation import Ablation

            asked = Ablation.read(
                sweep, plugins=list(plugin or ()), limit=limit, allow_outside=allow_outside
            )
        for text in dict.fromkeys(text for plan in asked.plans for text in plan.spec.warnings):
            warn(text)
        if dry_run:
            _forecast(asked)
            return
        if out is None:
            raise InputError("--out DIR says where the results go; or look first, with --dry-run")
        _run(asked, out, engine, workers)


def _forecast(asked: Ablation) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from triptych.workbench.report.compose import changes_of
    from triptych.workbench.runs.forecast import forecast

    with Waiting("asking the base arm a few items, and every arm one"):
        found = forecast(asked)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("arm", "what differs", "computed"):
        table.add_column(column, overflow="fold")
    each = Counter(cell.arm for cell, _ in asked.computed)
    for plan in asked.plans:
        cells = [
            plan.name,
            changes_of(plan.changes) or "nothing",
            f"{each[plan.name] * found.items:,}",
        ]
        table.add_row(*map(Text, cells))
    table_console().print(table)
    typer.echo(
        f"{counted(len(asked.plans), 'arm')}, {counted(found.items, 'item')} in "
        f"{counted(found.clusters, 'cluster')}: {counted(found.runs, 'run')}, of which "
        f"{found.computed:,} are computed"
    )
    how = "one by one, each arm in a process of its own" if asked.isolated else "in company"
    typer.echo(
        f"about {_duration(found.seconds)}, {how}, as the base arm answered "
        f"{counted(found.sampled, 'item')}"
    )
    if found.memory is not None:
        typer.echo(f"about {found.memory / GIGA:.1f} GB of memory")
    for arm, error in found.failures.items():
        warn(f"arm {arm} fails on the first item: {error}")
    if found.smallest_effect is None or found.smallest_effect >= 1:
        typer.echo("too few items to find any difference; ask more")
    else:
        typer.echo(
            f"a true difference of {found.smallest_effect:.3f} (of a score of 0 to 1) would be "
            "found four times in five; a smaller one needs more items"
        )


def _run(asked: Ablation, out: Path, engine: str, workers: int | None) -> None:
    from triptych.workbench.engines.choice import engine_named
    from triptych.workbench.extra import require_extra
    from triptych.workbench.runs.exports import write_all
    from triptych.workbench.runs.store import Store

    if asked.isolated and engine != "local":
        raise InputError(
            f"times and memory are measured by processes of this machine that take turns; leave "
            f"out --engine {engine}, or these metrics"
        )
    require_extra("the report of an ablation needs")
    chosen = engine_named(engine, workers=workers)
    with Store(out) as store:
        with Progress("runs") as progress:

            def follow(done: int, total: int) -> None:
                progress.show(f"{done:,} of {total:,} runs are done", done, total)

            try:
                asked.run(store, chosen, name=engine, progress=follow)
            except KeyboardInterrupt:
                remark(f"stopped; {_said(asked, store)}, and the same command goes on")
                raise
        with Waiting(f"writing {out}"):
            write_all(store, out)
            results = store.results()
            from triptych.cli.ablation_table import ablation_table
            from triptych.workbench.report import write
            from triptych.workbench.statistics.compare import compare

            comparison = compare(results)
            write(results, out, comparison)
        table_console().print(ablation_table(results, comparison))
        remark(f"{_said(asked, store)}; see {out / 'report.html'}")


def _said(asked: Ablation, store: Store) -> str:
    """How far an ablation is."""
    total = store.count("items") * asked.runs_per_item
    return f"{store.count('runs'):,} of {total:,} runs are done"


def _duration(seconds: float) -> str:
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} seconds"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} minutes"
    return f"{seconds / HOUR:.1f} hours"
