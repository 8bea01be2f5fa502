"""`triptych new-plugin`: a package, or a file, that passes its own tests at once."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.reporting import reporting

EXAMPLES = args.examples(
    ("A package with a sampler of mine:", "triptych new-plugin acme --kind sampler"),
    (
        "With names of my own:",
        "triptych new-plugin pruning --kind stage --owner acme --name keep_faces",
    ),
    ("One file, for --plugin:", "triptych new-plugin my.py --kind sampler --file"),
)


class PluginKind(StrEnum):
    """What a plugin may offer."""

    SAMPLER = "sampler"
    STAGE = "stage"
    STRATEGY = "strategy"
    PROCESSOR = "processor"
    EXPORTER = "exporter"
    CACHE = "cache"
    DATASET = "dataset"
    METRIC = "metric"


def new_plugin(
    *,
    place: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to write, or with --file the file.")
    ],
    kind: Annotated[PluginKind, typer.Option(help="What the plugin offers.")],
    owner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What stands before the slash in pipeline files (default: the folder's name).",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What stands after it (default: the example's name)."),
    ] = None,
    file: Annotated[
        bool,
        typer.Option(
            "--file", metavar=args.NO_VALUE, help="Write one file for --plugin, not a package."
        ),
    ] = False,
    debug: args.Debug = False,
) -> None:
    """Write a plugin to start from: a package with tests, or with --file a single file."""
    with reporting(debug=debug):
        from triptych.cli.plugin_files import Names, template

        if file:
            from triptych.cli.plugin_files import write_file

            names = Names.of_file(kind.value, owner=owner, name=name)
            write_file(place, names)
            shown = shlex.quote(str(place))
            typer.echo(f"wrote {place}, which offers the {kind.value} {names.full_name}")
            typer.echo(f"look at it:  triptych plugins {names.full_name} --plugin {shown}")
            return
        from triptych.cli.plugin_files import write_package

        names = Names.of_package(kind.value, place, owner=owner, name=name)
        for path in write_package(place, names):
            typer.echo(f"wrote {path}")
        install = f"pip install -e {shlex.quote(str(place) + '[test]')}"
        typer.echo(f"try it:  {install} && python -m pytest {shlex.quote(str(place))}")
        typer.echo(f"it is then {names.full_name} in pipeline files; {template(kind.value).hint}")
