"""`triptych verify`: whether a pipeline computes what its checkpoint computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.reporting import FAULT, reporting
from triptych.cli.terminal import Waiting, table_console
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.export import Verification

EXAMPLES = args.examples(
    (
        "Compare each stage with the checkpoint:",
        "triptych verify models/mine --against Qwen3-VL-2B-Instruct",
    ),
    (
        "What int4 changes, as a page to look at:",
        "triptych verify models/small --against models/mine --html report.html",
    ),
)


def verify(
    *,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="What `triptych export` wrote.")],
    against: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="The checkpoint that it was made from, or another pipeline."
        ),
    ],
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Tokens decoded after each prompt.")
    ] = 16,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="F", min=0, help="The largest relative error (default: the precision's own)."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the report as an HTML page, too.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = None,
    plugin: args.Plugin = None,
    json: args.Json = False,
    debug: args.Debug = False,
) -> None:
    r"""Compare a pipeline with its checkpoint, or with another pipeline, stage by stage.

    Every stage runs as it does in the pipeline, on the inputs that the other side
    computes for it, so an error shows where it is made; then the pipeline runs on
    its own. Exit code 1 when a stage is beyond its tolerance; the first one, in the
    order of the data flow, is named.

    Against a checkpoint: pip install 'triptych\[export]'. Another pipeline needs no torch.
    """
    with reporting(debug=debug):
        with Waiting(f"reading {against}") as waiting:
            from triptych.core.components.catalog import Catalog
            from triptych.export import verify_export

            found = verify_export(
                out,
                against,
                tolerance=tolerance,
                steps=steps,
                catalog=Catalog(list(plugin or ())),
                progress=waiting.update,
            )
        if html is not None:
            _write_page(html, found)
        if json:
            typer.echo(found.to_json())
        else:
            _print_table(found)
        if not found.passed:
            raise typer.Exit(FAULT)


def _write_page(file: Path, found: Verification) -> None:
    """Raises InputError where the file cannot be written."""
    from triptych.export.verification.page import page

    try:
        file.write_text(page(found), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror}") from error


def _print_table(found: Verification) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from triptych.export.verification.tolerances import EXACT
    from triptych.export.verification.words import in_words

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("stage", "port", "largest error", "relative", "cosine", "tolerance", "verdict"):
        table.add_column(column, no_wrap=True)
    for check in found.checks:
        verdict = Text("ok", "green") if check.passed else Text(f"FAILED on {check.case}", "red")
        table.add_row(
            check.stage,
            check.port,
            f"{check.absolute:.2e}",
            f"{check.relative:.2e}",
            "" if check.cosine is None else f"{check.cosine:.6f}",
            f"{check.tolerance:.1e}",
            verdict,
        )
    table_console().print(table)
    for sentence in (sentence for check in found.checks for sentence in in_words(check)):
        typer.echo(sentence)
    for note in found.notes:
        typer.echo(f"note: {note}")
    failure = found.first_failure
    if failure is None:
        exact = all(one.tolerance <= EXACT for one in found.checks if one.rows)
        verb = "computes what {} computes" if exact else "agrees with {} within its tolerances"
        typer.echo(f"{found.export} ({found.precision}) {verb.format(found.against)}")
        return
    if failure.note:
        typer.echo(f"{failure.stage} {failure.port}: {failure.note}")
    typer.echo(f"FIRST STAGE THAT DIFFERS: {failure.stage}, {failure.port}")
