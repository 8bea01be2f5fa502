"""`triptych verify`: whether an export computes what its checkpoint computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.reporting import FAULT, reporting
from triptych.cli.terminal import Waiting, table_console

if TYPE_CHECKING:
    from triptych.export import Verification

EXAMPLES = args.examples(
    (
        "Compare each stage with the checkpoint:",
        "triptych verify models/mine --against Qwen3-VL-2B-Instruct",
    ),
)


def verify(
    *,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="What `triptych export` wrote.")],
    against: Annotated[
        Path, typer.Option(metavar="CHECKPOINT", help="The checkpoint that it was made from.")
    ],
    plugin: args.Plugin = None,
    json: args.Json = False,
    debug: args.Debug = False,
) -> None:
    r"""Compare an export with its checkpoint, stage by stage, in the order of the data flow.

    Every stage is given the reference's own inputs, so an error shows where it
    is made. Exit code 1 when one is beyond its tolerance.

    Needs: pip install 'triptych\[export]'.
    """
    with reporting(debug=debug):
        with Waiting(f"reading {against}") as waiting:
            from triptych.core.catalog import Catalog
            from triptych.export import verify_export

            found = verify_export(
                out, against, catalog=Catalog(list(plugin or ())), progress=waiting.update
            )
        if json:
            typer.echo(found.to_json())
        else:
            _print_table(found)
        if not found.passed:
            raise typer.Exit(FAULT)


def _print_table(found: Verification) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("stage", "port", "largest error", "relative", "tolerance", "verdict"):
        table.add_column(column, no_wrap=True)
    for check in found.checks:
        verdict = Text("ok", "green") if check.passed else Text(f"FAILED on {check.case}", "red")
        table.add_row(
            check.stage,
            check.port,
            f"{check.absolute:.2e}",
            f"{check.relative:.2e}",
            f"{check.tolerance:.0e}",
            verdict,
        )
    table_console().print(table)
    failure = found.first_failure
    typer.echo(
        f"{found.export} ({found.precision}) computes what {found.against} computes"
        if failure is None
        else f"{failure.stage} is the first stage that differs"
    )
