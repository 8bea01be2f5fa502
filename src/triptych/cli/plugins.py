"""`triptych plugins`: what can be used, where it comes from, and what is broken."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych import __version__
from triptych.cli import arguments as args
from triptych.cli.reporting import reporting, warn
from triptych.cli.terminal import table_console

if TYPE_CHECKING:
    from triptych.core.components.entry import Entry, PluginFault

EXAMPLES = args.examples(
    ("What can a pipeline use?", "triptych plugins"),
    ("The settings of one component:", "triptych plugins top_p"),
    ("What does a file of mine offer?", "triptych plugins --plugin ./my.py"),
)


def plugins(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Show this component's settings, and how YAML calls it."
        ),
    ] = None,
    plugin: args.Plugin = None,
    json: args.Json = False,
    debug: args.Debug = False,
) -> None:
    """List the components that are built in, installed, or in a file of yours.

    What cannot be used is listed on stderr, with the cause; it harms nothing else.
    """
    with reporting(debug=debug):
        from triptych.core.components.catalog import Catalog

        entries, faults = Catalog(list(plugin or ())).everything()
        if name is not None:
            _show_one(name, entries, faults, as_json=json)
            return
        if json:
            found = {"components": [_plain(entry) for entry in entries], "faults": _faults(faults)}
            typer.echo(json_text.dumps(found, ensure_ascii=False))
        else:
            _print_table(entries)
        for fault in faults:
            warn(str(fault))


def _show_one(
    name: str, entries: Sequence[Entry], faults: Sequence[PluginFault], *, as_json: bool
) -> None:
    from triptych.cli.component import details, page

    found = [entry for entry in entries if entry.full_name == name]
    for fault in faults:
        if not found and _concerns(fault, name):
            raise fault
    if not found:
        raise _unknown(name, entries)
    if as_json:
        whole = [{**_plain(entry), **details(entry)} for entry in found]
        typer.echo(json_text.dumps({"components": whole}, ensure_ascii=False))
        return
    typer.echo("\n\n".join(page(entry) for entry in found))


def _concerns(fault: PluginFault, name: str) -> bool:
    """Whether a fault is why there is no component of that name."""
    if fault.component is not None:
        return fault.component == name
    owner, slash, _ = name.partition("/")
    return bool(slash) and fault.owner == owner


def _unknown(name: str, entries: Sequence[Entry]) -> Exception:
    from triptych.core.errors import InputError
    from triptych.core.messages import nearest

    known = sorted({entry.full_name for entry in entries})
    close = nearest(name, known)
    hint = f"\n  did you mean {close!r}?" if close else ""
    return InputError(f"there is no component {name!r}{hint}\n  known: {', '.join(known)}")


def _print_table(entries: Sequence[Entry]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "kind", "owner", "version"):
        table.add_column(column, no_wrap=True)
    table.add_column("summary")
    table.add_column("settings")
    for entry in entries:
        row = _plain(entry)
        cells = [row[column] or "" for column in ("name", "kind", "owner", "version", "summary")]
        table.add_row(*map(Text, [*cells, _settings(row["settings"])]))
    table_console().print(table)


def _settings(settings: Mapping[str, Any]) -> str:
    """Each setting with its default, or a bare name where it must be given."""
    said = (
        name if one["required"] else f"{name}={json_text.dumps(one['default'], ensure_ascii=False)}"
        for name, one in settings.items()
    )
    return " ".join(said)


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry as JSON; what is built in comes from triptych itself."""
    from triptych.cli.component import settings
    from triptych.core.components.catalog import SINGULAR
    from triptych.core.components.entry import PluginFault

    built_in = entry.owner is None
    try:
        found = settings(entry)
    except PluginFault:
        # An exporter without the extra; its name shows the fault.
        found = {}
    return {
        "name": entry.full_name,
        "kind": SINGULAR[entry.kind],
        "owner": entry.owner or "triptych",
        "distribution": "triptych" if built_in else entry.distribution,
        "version": __version__ if built_in else entry.version,
        "file": str(entry.origin.file) if entry.origin.file else None,
        "summary": entry.component.summary,
        "main": entry.component.main,
        "settings": found,
    }


def _faults(faults: Sequence[PluginFault]) -> list[dict[str, Any]]:
    return [
        {
            "owner": fault.owner,
            "distribution": fault.distribution,
            "component": fault.component,
            "message": str(fault),
        }
        for fault in faults
    ]
