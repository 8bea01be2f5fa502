"""`triptych show --trace`: one real run as text, and as a file for a viewer of traces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from triptych.cli.terminal import Waiting, table_console
from triptych.core.counted import counted
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.cli.opening import Changes
    from triptych.core.assembly.assembly import Assembly
    from triptych.core.config.spec import PipelineSpec
    from triptych.recording.trace import Row, Trace

QUESTION, ABOUT_A_PICTURE = "What is the capital of France?", "What is in this picture?"

SIDE, SEED = 192, 3
"""The drawn picture: its side in pixels, and which one it is."""

KILO = 1000


def show_trace(
    pipeline: str,
    changes: Changes,
    text: str | None,
    images: Sequence[str],
    max_new_tokens: int,
    file: Path | None,
) -> None:
    """Run the pipeline once, and print the run; file: write it as a Chrome trace, too.

    Raises what loading and asking raise.
    """
    with Waiting(f"running {pipeline}"):
        from triptych.core.assembly.assembly import assemble
        from triptych.core.pipeline import Pipeline
        from triptych.recording.trace import Trace

        spec = _measured(changes.spec(pipeline))
        assembly = assemble(spec)
        shown: list[Any] = list(images)
        if not shown and text is None and _takes_pictures(assembly):
            shown = [_drawn()]
        asked = text or (ABOUT_A_PICTURE if shown else QUESTION)
        loaded = Pipeline(spec, assembly=assembly)
        # A first run takes memory that later ones find.
        loaded.generate(asked, images=shown, max_new_tokens=2)
        trace = Trace()
        reply = loaded.generate(asked, images=shown, max_new_tokens=max_new_tokens, observer=trace)
    if file is not None:
        try:
            file.write_text(json.dumps(trace.chrome()), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{file}: cannot be written: {error.strerror}") from error
    _print(trace, asked, reply.text)


def _measured(spec: PipelineSpec) -> PipelineSpec:
    """A pipeline that computes what it is asked, whatever it computed before."""
    update = {"preload": True, "feature_cache": False, "prefix_cache": False}
    return replace(spec, session=spec.session.model_copy(update=update))


def _takes_pictures(assembly: Assembly) -> bool:
    """Whether a stage looks at pixels."""
    offered = {port.name for port in assembly.processor.offers if "patches" in port.axes}
    offered |= {port.name for port in assembly.processor.offers if "tiles" in port.axes}
    return any(read.port.name in offered for wired in assembly.wiring.input for read in wired.reads)


def _drawn() -> Any:
    """A picture of three shapes, always the same."""
    from random import Random

    from triptych.models.sketch.scenes import draw_shapes

    return draw_shapes((SIDE, SIDE), Random(SEED)).image  # noqa: S311 - a drawing, no secret


def _print(trace: Trace, asked: str, answer: str) -> None:
    typer.echo(f"{asked}\n{answer}\n")
    steps = trace.steps
    _table(f"step 0, the prompt: {counted(trace.prompt_tokens, 'token')}", trace, prompt=True)
    if steps:
        title = "step 1, a token" if steps == 1 else f"steps 1 to {steps}, a token each: medians"
        _table(title, trace, prompt=False)
    typer.echo(
        f"{trace.seconds * KILO:.1f} ms in all, with what it takes to look; "
        f"{counted(trace.new_tokens, 'new token')}"
    )


def _table(title: str, trace: Trace, *, prompt: bool) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for column in ("phase", "stage"):
        table.add_column(column, no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("writes", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    for row in trace.rows(prompt=prompt):
        for cells in _cells(row):
            table.add_row(*cells)
    between = f"{trace.outside(prompt=prompt) * KILO:.3f}"
    table.add_row("", "between stages", between, "", "", "")
    table_console().print(table)


def _cells(row: Row) -> Iterator[tuple[str, ...]]:
    took = "" if row.seconds is None else f"{row.seconds * KILO:.3f}"
    name = row.writer if row.calls == 1 else f"{row.writer} ({row.calls} calls)"
    first = (row.phase.upper(), name, took)
    for handed in row.handed or (None,):
        rest = ("", "", "")
        if handed is not None:
            rest = (handed.port, str(handed), f"{handed.bytes:,}")
        yield (*first, *rest)
        first = ("", "", "")
