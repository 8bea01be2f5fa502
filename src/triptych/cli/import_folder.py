"""`triptych import`: a folder of graphs that another tool made gets a pipeline file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import arguments as args
from triptych.cli.reporting import reporting, warn
from triptych.cli.terminal import Waiting
from triptych.core.errors import InputError

EXAMPLES = args.examples(
    (
        "A folder of ONNX Runtime GenAI, Optimum (onnx-community) or mobius:",
        "triptych import models/theirs",
    ),
    (
        "The decoder in 4 bits, the rest in full:",
        "triptych import models/theirs --suffix decoder=q4",
    ),
    (
        "Leave their folder as it is:",
        "triptych import models/theirs --out theirs.yaml",
    ),
)


def import_folder(
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder with the graphs.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file to write (default: pipeline.yaml in FOLDER)."),
    ] = None,
    suffix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART=S",
            help="Take the files of vision_encoder, embeddings or decoder that end in _S, as in "
            "decoder=q4 (fp32: without one); S alone is for all three; may be repeated.",
        ),
    ] = None,
    debug: args.Debug = False,
) -> None:
    """Write a pipeline.yaml for graphs that another tool made, to run and to edit.

    The graphs are recognised by the names of their ports. `triptych run FOLDER` does the same
    without writing anything. Exit code 2 for a folder that cannot be run.
    """
    with reporting(debug=debug):
        with Waiting(f"reading {folder}"):
            from triptych.core.config.locate import FILE
            from triptych.core.layouts.recognise import recognise

            file = folder / FILE if out is None else out
            if file.exists():
                raise InputError(f"{file} is there already; name another file with --out")
            root = None if out is None else _root(folder, file)
            found = recognise(folder, suffixes=_suffixes(suffix or ()), root=root)
            _write(file, found.text)
        typer.echo(f"wrote {file}")
        for text in found.warnings:
            warn(text)
        for line in _flow(file):
            typer.echo(f"  {line}")
        outside = root is not None and root.is_absolute()
        allow = " --allow-outside" if outside else ""
        typer.echo(f"  try it:  triptych run {file if out else folder} --text 'Hello'{allow}")


def _flow(file: Path) -> list[str]:
    """The data flow of the pipeline, checked. Raises ConfigError where it does not fit."""
    with Waiting(f"checking {file}"):
        from triptych.cli.flow import flow_of, lines_of
        from triptych.core.assembly.assembly import assemble
        from triptych.core.components.catalog import Catalog
        from triptych.core.config.load import load_spec

        spec = load_spec(file, catalog=Catalog(), allow_outside=True, spoken="flags")
        return list(lines_of(flow_of(assemble(spec))))


def _root(folder: Path, file: Path) -> Path:
    """The folder as a file elsewhere names it: relative where it lies below."""
    whole, home = folder.resolve(), file.absolute().parent.resolve()
    return whole.relative_to(home) if whole.is_relative_to(home) else whole


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from error


def _suffixes(given: Sequence[str]) -> dict[str, str]:
    """The suffix by part; of the part ``""``, for all."""
    suffixes: dict[str, str] = {}
    for text in given:
        part, equals, suffix = text.rpartition("=")
        if equals and not part:
            raise InputError(f"--suffix {text}: names no part, as in decoder=q4")
        if part in suffixes:
            raise InputError(f"--suffix is given twice for {part or 'all parts'}")
        suffixes[part] = suffix
    return suffixes
