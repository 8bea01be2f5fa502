"""Fills the reference's list of verbs and flags from the command line itself."""

from __future__ import annotations

from typing import Any

from triptych.cli.main import command

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this with every page; ``<!-- commands -->`` becomes the list."""
    return markdown.replace(MARK, listing()) if MARK in markdown else markdown


def listing() -> str:
    """Every verb with what it does and its arguments and flags, as Markdown."""
    return "\n\n".join(_section(name, verb) for name, verb in command().commands.items())


def _section(name: str, verb: Any) -> str:
    about = (verb.help or "").replace("\b", "").strip()
    rows = [
        f"| {_shown(parameter)} | {_cell(parameter.help or '')} |"
        for parameter in verb.params
        if not parameter.hidden
    ]
    return "\n".join([f"### `triptych {name}`", "", about, "", "| | |", "|---|---|", *rows])


def _shown(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
