"""The app: its verbs, in the order in which people meet them."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
import typer.main

from triptych import __version__
from triptych.cli import (
    chat,
    check,
    doctor,
    export,
    import_folder,
    plugins,
    run,
    schema,
    show,
    verify,
)
from triptych.cli.reporting import INTERRUPTED, MENDABLE, complain

# Typer coerces a missing value with pydantic, which `--help` need not wait for.
PRESET = dict.fromkeys(("help", "install_completion", "show_completion"), False)

ASK, INSPECT, CONVERT = "Ask", "Inspect", "Convert checkpoints"

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "default_map": PRESET},
)


def _version(asked: bool) -> None:  # noqa: FBT001  # typer calls it
    if asked:
        typer.echo(f"triptych {__version__}")
        raise typer.Exit


@app.callback()
def triptych(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Run multimodal ONNX pipelines that are written in YAML.

    Begin with:  triptych run --text "What is the capital of France?"
    """


app.command(rich_help_panel=ASK, epilog=run.EXAMPLES)(run.run)
app.command(rich_help_panel=ASK, epilog=chat.EXAMPLES)(chat.chat)
app.command(rich_help_panel=INSPECT, epilog=check.EXAMPLES)(check.check)
app.command(rich_help_panel=INSPECT, epilog=show.EXAMPLES)(show.show)
app.command(rich_help_panel=INSPECT, epilog=plugins.EXAMPLES)(plugins.plugins)
app.command(rich_help_panel=INSPECT, epilog=schema.EXAMPLES)(schema.schema)
app.command(rich_help_panel=INSPECT, epilog=doctor.EXAMPLES)(doctor.doctor)
app.command(rich_help_panel=CONVERT, epilog=export.EXAMPLES)(export.export)
app.command("import", rich_help_panel=CONVERT, epilog=import_folder.EXAMPLES)(
    import_folder.import_folder
)
app.command(rich_help_panel=CONVERT, epilog=verify.EXAMPLES)(verify.verify)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. argv: without the program's name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a sign gets its number, not a traceback.
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        # Some locales smuggle bytes that are no text in; here they are told of.
        sys.stdin.reconfigure(errors="strict")
    try:
        code = _command().main(argv, prog_name="triptych", standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(error)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return code if isinstance(code, int) else 0


@cache
def _command() -> Any:
    """The app as typer runs it."""
    return typer.main.get_command(app)


def _refuse(error: typer.TyperException) -> int:
    """Say what is wrong with the arguments. Without any, typer has shown the help already."""
    message = error.format_message()
    if message:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "triptych"
        complain(f"{message}\n  see: {path} --help")
    return MENDABLE
