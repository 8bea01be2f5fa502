"""`triptych show`: what a pipeline is, every default filled in, and how data flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.opening import Changes
from triptych.cli.reporting import reporting
from triptych.cli.terminal import Waiting
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.core.config.spec import PipelineSpec

TRACE = "One run"

LENGTH = 16
"""Tokens of a traced reply at the most."""

EXAMPLES = args.examples(
    ("What does the built-in model do?", "triptych show"),
    ("Write a pipeline of your own, to edit:", "triptych show > my.yaml"),
    ("A drawing for a page that renders Mermaid:", "triptych show my.yaml --mermaid"),
    ("What happens in one run, and how long does it take?", "triptych show --trace"),
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
    digests: Annotated[
        bool,
        typer.Option(
            "--digests",
            metavar=args.NO_VALUE,
            help="Record the sha256 of every file; reads them whole.",
            rich_help_panel=args.OUTPUT,
        ),
    ] = False,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace",
            metavar=args.NO_VALUE,
            help="Run it once, and print when each stage ran, how long, and what it handed on.",
            rich_help_panel=TRACE,
        ),
    ] = False,
    trace_json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write that run for chrome://tracing or Perfetto, too.",
            rich_help_panel=TRACE,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="With --trace: the question (default: one about the picture).",
            rich_help_panel=TRACE,
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="With --trace: a picture to ask about (default: a drawn one, where the pipeline "
            "looks at pictures); may be repeated.",
            rich_help_panel=TRACE,
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --trace: the longest reply, in tokens (default: 16).",
            rich_help_panel=TRACE,
        ),
    ] = None,
    set_: args.Set = None,
    insert: args.Insert = None,
    replace: args.Replace = None,
    remove: args.Remove = None,
    plugin: args.Plugin = None,
    allow_outside: args.AllowOutside = False,
    debug: args.Debug = False,
) -> None:
    """Print the resolved pipeline as YAML that runs, with the data flow in comments below.

    With --trace, print one real run instead: stages, times, shapes, dtypes and bytes.

    Every default is filled in. Relative paths start at its root, so the text may
    be saved anywhere; files outside of that then need --allow-outside. No weights are
    loaded but for --trace.
    """
    with reporting(debug=debug):
        changes = Changes(set_, insert, replace, remove, plugin, allow_outside)
        if trace or trace_json:
            if mermaid or digests:
                raise InputError("--trace shows one run; ask for --mermaid or --digests without it")
            from triptych.cli.trace import show_trace

            show_trace(pipeline, changes, text, image or [], max_new_tokens or LENGTH, trace_json)
            return
        if text is not None or image or max_new_tokens:
            raise InputError("--text, --image and --max-new-tokens are of --trace; give that, too")
        with Waiting(f"resolving {pipeline}"):
            from triptych.cli.flow import flow_of, lines_of
            from triptych.cli.mermaid import drawing
            from triptych.core.assembly.assembly import assemble
            from triptych.core.config.resolved import resolved

            spec = changes.spec(pipeline)
            flow = flow_of(assemble(spec))
            if mermaid:
                text = drawing(flow)
            else:
                lines = [*_remarks(spec), *lines_of(flow)]
                comments = "".join(f"# {line}\n" for line in "\n".join(lines).splitlines())
                text = f"{resolved(spec, digests=digests)}\n{comments}"
        typer.echo(text, nl=False)


def _remarks(spec: PipelineSpec) -> Iterator[str]:
    """What a person should know who saves the text elsewhere."""
    from triptych.core.config.locate import BUILT_IN, builtin

    if spec.paths.root not in [builtin(name) for name in BUILT_IN]:
        yield "Saved outside of its root, this file runs with --allow-outside."
        yield ""
