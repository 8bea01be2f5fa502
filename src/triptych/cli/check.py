"""`triptych check`: whether a pipeline fits together, without reading a weight."""

from __future__ import annotations

import typer

from triptych.cli import arguments as args
from triptych.cli.opening import Changes
from triptych.cli.reporting import reporting
from triptych.cli.terminal import Waiting

EXAMPLES = args.examples(
    ("Check a file that you wrote:", "triptych check my.yaml"),
    (
        "Would this stage fit there?",
        "triptych check my.yaml --insert 'after mrope: {acme/token_merge: 0.5}'",
    ),
)


def check(  # one parameter per flag
    *,
    pipeline: args.PipelineArgument = args.DEFAULT_PIPELINE,
    set_: args.Set = None,
    insert: args.Insert = None,
    replace: args.Replace = None,
    remove: args.Remove = None,
    plugin: args.Plugin = None,
    allow_outside: args.AllowOutside = False,
    debug: args.Debug = False,
) -> None:
    """Check the settings of a pipeline and how its stages are wired.

    No weights are read. Exit code 0 when all is well, 2 with the first thing that is wrong. Where
    session.providers asks for CUDA, a note tells of operators that it has no kernel for.
    """
    with reporting(debug=debug):
        with Waiting(f"checking {pipeline}"):
            from triptych.cli.flow import flow_of, lines_of
            from triptych.cli.kernels import on_cpu
            from triptych.core.assembly.assembly import assemble

            changes = Changes(set_, insert, replace, remove, plugin, allow_outside)
            spec = changes.spec(pipeline)
            assembly = assemble(spec)
            assembly.check_chain()
            lines = list(lines_of(flow_of(assembly)))
            slow = list(on_cpu(assembly))
        typer.echo(f"OK  {spec.source or pipeline}")
        for line in lines:
            typer.echo(f"  {line}")
        for line in slow:
            typer.echo(f"  note: {line}")
