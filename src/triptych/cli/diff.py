"""`triptych diff`: where two recordings part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.reporting import FAULT, reporting
from triptych.cli.terminal import Waiting, table_console

if TYPE_CHECKING:
    from triptych.recording.compare import Difference, PortRow

EXAMPLES = args.examples(
    ("Where do two runs part?", "triptych diff first second"),
    ("As far as rounding goes, they are the same:", "triptych diff fp32 int8 --tolerance 0.01"),
)


def diff(
    *,
    here: Annotated[Path, typer.Argument(metavar="DIR", help="What `run --record` wrote.")],
    there: Annotated[Path, typer.Argument(metavar="DIR", help="Another one.")],
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="F",
            min=0,
            help="The largest relative error of ports that count as the same.",
        ),
    ] = 0.0,
    port: Annotated[
        list[str] | None,
        typer.Option(metavar="PORT", help="Compare this port only; may be repeated."),
    ] = None,
    json: args.Json = False,
    debug: args.Debug = False,
) -> None:
    """Compare two recordings port by port, and name the first difference.

    What was recorded of the same tokens is compared, in the order in which it was
    written. Precisions, machines, the names of stages and where a prompt was cut may
    differ. From where the tokens differ on, there is nothing to compare.

    Exit code 1 where they differ by more than the tolerance.
    """
    with reporting(debug=debug):
        with Waiting(f"comparing {here} and {there}"):
            from triptych.recording.compare import compare
            from triptych.recording.recording import Recording

            found = compare(Recording(here), Recording(there), tolerance=tolerance, ports=port)
        if json:
            import json as json_text

            typer.echo(json_text.dumps(found.to_dict(), ensure_ascii=False))
        else:
            _print(found)
    if not found.same:
        raise typer.Exit(FAULT)


def _print(found: Difference) -> None:
    from rich import box
    from rich.table import Table

    if found.rows:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("written by", no_wrap=True)
        table.add_column("port", no_wrap=True)
        for column in ("places", "differ", "relative error", "at step", "cosine", "KL", "top 1"):
            table.add_column(column, justify="right", no_wrap=True)
        for row in found.rows:
            table.add_row(*_cells(row))
        table_console().print(table)
    for line in _verdict(found):
        typer.echo(line)


def _cells(row: PortRow) -> list[str]:
    worst = row.worst
    same = worst is None or worst.distance.equal
    return [
        row.writer,
        row.port,
        str(row.steps),
        str(row.differing),
        "0" if same or worst is None else f"{worst.distance.relative:.2e}",
        "" if same or worst is None else str(worst.step),
        "1" if same else f"{row.cosine:.6f}",
        "" if row.kl is None else f"{row.kl:.2e}",
        "" if row.top1 is None else f"{100 * row.top1:.0f} %",
    ]


def _verdict(found: Difference) -> Iterator[str]:
    first, parting = found.first, found.parting
    if first is not None:
        far = first.distance
        how = far.reason or (
            f"relative error {far.relative:.2e}, largest difference {far.largest:.2e}, "
            f"cosine {far.cosine:.6f}"
        )
        kl = "" if far.kl is None else f", KL {far.kl:.2e} nats"
        yield f"first difference: {first.where}: {how}{kl}"
    for side, which in (("here", "first"), ("there", "second")):
        names = [name for name, whose in found.alone.items() if whose == side]
        if names:
            yield f"only the {which} has {', '.join(names)}"
    if parting is not None:
        where = "the prompts differ" if parting.step == 0 else f"the tokens part at {parting.step}"
        yield f"{where}: token {parting.here} and token {parting.there} at place {parting.place}"
    for note in found.notes:
        yield f"note: {note}"
    if found.same:
        some = f" within {found.tolerance:g}" if found.tolerance else ""
        ports = dict.fromkeys(row.port for row in found.rows)
        yield f"the same{some}: {', '.join(ports)}"
