"""`triptych show`: what a pipeline is, every default filled in, and how data flows."""

from __future__ import annotations

from typing import Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.opening import Changes
from triptych.cli.reporting import reporting
from triptych.cli.terminal import Waiting

EXAMPLES = args.examples(
    ("What does the built-in model do?", "triptych show"),
    ("Write a pipeline of your own, to edit:", "triptych show > my.yaml"),
    ("A drawing for a page that renders Mermaid:", "triptych show my.yaml --mermaid"),
)


def show(  # noqa: PLR0913  # one parameter per flag
    *,
    pipeline: args.PipelineArgument = args.DEFAULT_PIPELINE,
    mermaid: Annotated[
        bool,
        typer.Option(
            "--mermaid",
            metavar=args.NO_VALUE,
            help="Print only the data flow, as a Mermaid flowchart.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = False,
    set_: args.Set = None,
    insert: args.Insert = None,
    replace: args.Replace = None,
    remove: args.Remove = None,
    plugin: args.Plugin = None,
    allow_outside: args.AllowOutside = False,
    debug: args.Debug = False,
) -> None:
    """Print the resolved pipeline as YAML that runs, with the data flow in comments below.

    Every default is filled in. No weights are loaded.
    """
    with reporting(debug=debug):
        with Waiting(f"resolving {pipeline}"):
            from triptych.cli.flow import flow_of, lines_of
            from triptych.cli.mermaid import drawing
            from triptych.core.assembly import assemble
            from triptych.core.config.resolved import resolved

            changes = Changes(set_, insert, replace, remove, plugin, allow_outside)
            spec = changes.spec(pipeline)
            flow = flow_of(assemble(spec))
            if mermaid:
                text = drawing(flow)
            else:
                comments = "".join(f"# {line}\n" for line in lines_of(flow))
                text = f"{resolved(spec, digests=False)}\n{comments}"
        typer.echo(text, nl=False)
