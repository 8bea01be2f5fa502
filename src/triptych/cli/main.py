"""The app: its verbs, and how it begins and ends."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import threading
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any

import typer
import typer.main

from triptych import __version__
from triptych.cli.reporting import INTERRUPTED, MENDABLE, complain
from triptych.cli.verbs import VERBS

# Typer coerces a missing value with pydantic, which `--help` need not wait for.
PRESET = dict.fromkeys(("help", "install_completion", "show_completion"), False)

MANY = -1
"""Typer's `nargs` of an argument that takes any number of values."""


def _version(asked: bool) -> None:  # noqa: FBT001  # typer calls it
    if asked:
        typer.echo(f"triptych {__version__}")
        raise typer.Exit


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    argv: without the program's name; None: the process's own, which ends with it.
    """
    if argv is not None:
        return _run(argv)
    _without_pydantic_plugins()
    code = _run(sys.argv[1:])
    _leave(code)
    return code


def _without_pydantic_plugins() -> None:
    """Spare a command the search for pydantic's plugins, unless somebody has said which to use.

    It reads the metadata of every installed package; and what reads it takes 8 ms to import. What
    stands in for it has the one name that is imported from it; asked for another, it makes room.
    """
    if "PYDANTIC_DISABLE_PLUGINS" in os.environ:
        return
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    none = ModuleType("pydantic.plugin._loader")

    def whole(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(none.__name__) is none:
            del sys.modules[none.__name__]
        return getattr(import_module(none.__name__), name)

    vars(none).update(get_plugins=tuple, __getattr__=whole)
    sys.modules.setdefault(none.__name__, none)


def _leave(code: int) -> None:
    """End the process without taking apart first what the system takes back at once.

    That is a tenth of a short command's time. Returns where something has still to be waited for,
    or what was written cannot be given out, which Python says as it ends.
    """
    # Or what is left would be searched for garbage.
    gc.freeze()
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    if not all(thread.daemon for thread in others):
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - as Python does before it takes itself apart
    os._exit(code)


def _run(argv: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a sign gets its number, not a traceback.
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        # Some locales smuggle bytes that are no text in; here they are told of.
        sys.stdin.reconfigure(errors="strict")
    asked = argv[0] if argv else None
    try:
        asked_for = command(asked if asked in VERBS else None)
        code = asked_for.main(argv, prog_name="triptych", standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(error)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return code if isinstance(code, int) else 0


@cache
def command(verb: str | None = None) -> Any:
    """The app as typer runs it, with one verb or with all."""
    verbs = tuple(VERBS) if verb is None else (verb,)
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["--help", "-h"],
            "default_map": PRESET | dict.fromkeys(verbs, PRESET),
        },
    )
    app.callback()(triptych)
    for name in verbs:
        function, examples = VERBS[name].load()
        app.command(name, rich_help_panel=VERBS[name].panel, epilog=examples)(function)
    whole = typer.main.get_command(app)
    for one in getattr(whole, "commands", {}).values():
        for parameter in one.params:
            _spare(parameter)
    return whole


def _spare(parameter: Any) -> None:
    """Typer makes a validator of pydantic's for each parameter, with or without a value.

    A text is what it is, and so is what was not given.
    """
    process = parameter.process_value

    def process_value(context: Any, value: Any) -> Any:
        text = isinstance(value, str) and parameter.type_descriptor.annotation is str
        if parameter.callback is None and text:
            return value
        if value is not None or parameter.required or parameter.callback is not None:
            return process(context, value)
        return () if parameter.multiple or parameter.nargs == MANY else None

    parameter.process_value = process_value


def _refuse(error: typer.TyperException) -> int:
    """Say what is wrong with the arguments. Without any, typer has shown the help already."""
    message = error.format_message()
    if message:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "triptych"
        complain(f"{message}\n  see: {path} --help")
    return MENDABLE
