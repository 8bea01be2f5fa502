"""`triptych schema`: a JSON Schema of the pipeline file, or of the sweep file, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.reporting import reporting

EXAMPLES = args.examples(
    ("Complete and check pipeline files in an editor:", "triptych schema > triptych.schema.json"),
    ("The files of `triptych ablate`:", "triptych schema --sweep > sweep.schema.json"),
)


def schema(
    *,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", metavar=args.NO_VALUE, help="Of the sweep file instead."),
    ] = False,
    plugin: args.Plugin = None,
    debug: args.Debug = False,
) -> None:
    """Print a JSON Schema (draft 7) of the pipeline file, with all that is installed.

    For an editor with the YAML language server, put this line at the top of a
    pipeline file:

    # yaml-language-server: $schema=triptych.schema.json
    """
    with reporting(debug=debug):
        import json

        from triptych.core.components.catalog import Catalog
        from triptych.core.config.schema import json_schema
        from triptych.core.config_error import ConfigError, Where

        catalog = Catalog(list(plugin or ()))
        absent = catalog.missing()
        if absent is not None:
            raise ConfigError(Where(f"--plugin {absent}"), "there is no such file")
        if sweep:
            from triptych.workbench.sweep.schema import sweep_schema

            typer.echo(json.dumps(sweep_schema(catalog), indent=2))
        else:
            typer.echo(json.dumps(json_schema(catalog), indent=2))
