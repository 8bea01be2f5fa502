"""`triptych ablate`: many variants of a pipeline, asked the same questions and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.counting import Counting
from triptych.cli.reporting import reporting
from triptych.cli.terminal import Waiting, remark, table_console
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.workbench.runs.ablation import Ablation

WHAT = "What is run"

EXAMPLES = args.examples(
    ("What would be run, and for how long?", "triptych ablate sweep.yaml --dry-run"),
    ("Run it, or go on with it:", "triptych ablate sweep.yaml --out results"),
    ("A first look, on a few items:", "triptych ablate sweep.yaml --out look --limit 20"),
)


def ablate(  # one parameter per flag
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
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Where it runs: local, or ray (pip install 'triptych\\[ray]').",
            rich_help_panel=WHAT,
        ),
    ] = "local",
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
        if dry_run:
            raise InputError("--dry-run")
        if out is None:
            raise InputError("--out DIR says where the results go; or look first, with --dry-run")
        _run(asked, out, engine)


def _run(asked: Ablation, out: Path, engine: str) -> None:
    from triptych.workbench.engines.choice import engine_named
    from triptych.workbench.runs.exports import write_all
    from triptych.workbench.runs.store import Store

    with Store(out) as store:
        with Counting("runs") as counting:
            try:
                chosen = engine_named(engine)
                asked.run(store, chosen, name=engine, progress=counting.update)
            except KeyboardInterrupt:
                counting.stop()
                remark(f"stopped; {counting.said}, and the same command goes on")
                raise
        with Waiting(f"writing {out}"):
            write_all(store, out)
            results = store.results()
            from triptych.workbench.report import table, write
            from triptych.workbench.statistics.compare import compare

            comparison = compare(results)
            write(results, out, comparison)
        table_console().print(table(results, comparison))
        remark(f"{counting.said}; see {out / 'report.html'}")
