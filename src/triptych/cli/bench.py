"""`triptych bench`: how fast a pipeline is, beside its machine and beside other runtimes."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli import arguments as args
from triptych.cli.opening import Changes
from triptych.cli.reporting import reporting
from triptych.cli.terminal import Waiting, table_console
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.bench.report import Report

SIZES, COMPARISON = "What is measured", "Comparison"

EXAMPLES = args.examples(
    ("How fast is the built-in model here?", "triptych bench"),
    (
        "Faster than what others make of the same weights?",
        "triptych bench models/mine --against llama.cpp=mine.gguf",
    ),
    (
        "What a change costs:",
        "triptych bench models/int4 --against triptych=models/fp32 --only decode",
    ),
)


def bench(  # noqa: PLR0913  # one parameter per flag
    pipeline: args.PipelineArgument = args.DEFAULT_PIPELINE,
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC",
            help="load, vision, prefill, decode, sequences or memory; may be repeated.",
            rich_help_panel=SIZES,
        ),
    ] = None,
    picture: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WxH",
            help="A picture's size (default: 384x384); may be repeated.",
            rich_help_panel=SIZES,
        ),
    ] = None,
    prefill: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            min=1,
            help="A prompt's length in tokens (default: 512); may be repeated.",
            rich_help_panel=SIZES,
        ),
    ] = None,
    context: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Tokens before those that are decoded (default: 32 and 1024); may be repeated.",
            rich_help_panel=SIZES,
        ),
    ] = None,
    sequences: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            min=1,
            help="How many are decoded at once (default: 4); may be repeated.",
            rich_help_panel=SIZES,
        ),
    ] = None,
    new_tokens: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Tokens of one decoding run.", rich_help_panel=SIZES),
    ] = 32,
    repeat: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Runs of each size, after one that warms up.",
            rich_help_panel=SIZES,
        ),
    ] = 5,
    restarts: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Fresh processes, for loading and memory.",
            rich_help_panel=SIZES,
        ),
    ] = 3,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Threads of every runtime (default: the cores of this machine).",
            rich_help_panel=SIZES,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=PATH",
            help="Another runtime and its model: triptych, onnxruntime-genai, openvino-genai or "
            "transformers and a folder, llama.cpp and a GGUF file; may be repeated.",
            rich_help_panel=COMPARISON,
        ),
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=PATH",
            help="The interpreter in which that runtime is installed, if not this one; may be "
            "repeated.",
            rich_help_panel=COMPARISON,
        ),
    ] = None,
    json: args.Json = False,
    markdown: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the table as Markdown.", rich_help_panel=args.OUTPUT
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a drawing, as SVG.", rich_help_panel=args.OUTPUT),
    ] = None,
    set_: args.Set = None,
    insert: args.Insert = None,
    replace: args.Replace = None,
    remove: args.Remove = None,
    plugin: args.Plugin = None,
    allow_outside: args.AllowOutside = False,
    debug: args.Debug = False,
) -> None:
    """Measure loading, pictures, prompts, decoding and memory, and compare with the limits here.

    The floor is what reading the weights and computing the products must take, at the
    rates that this machine reached in the same run. Compared runtimes run in
    processes of their own, in turn, with the same threads and the same token ids;
    a ratio above 1 is in the pipeline's favour.
    """
    with reporting(debug=debug), Waiting(f"reading {pipeline}") as waiting:
        from triptych.bench.benchmark import benchmark
        from triptych.bench.contender import model_of
        from triptych.bench.plan import CONTEXTS, PICTURES, PROMPTS, SEQUENCES, Plan
        from triptych.core.graphs.thread_pool import cpu_threads

        plan = Plan(
            threads or cpu_threads(),
            tuple(map(_sides, picture)) if picture else PICTURES,
            tuple(prefill or PROMPTS),
            tuple(context or CONTEXTS),
            tuple(sequences or SEQUENCES),
            new=new_tokens,
            repeats=repeat,
            restarts=restarts,
            topics=_topics(only),
        )
        pythons = dict(_pair(text, "--python") for text in python or ())
        models = [model_of(text, pythons) for text in against or ()]
        changes = Changes(set_, insert, replace, remove, plugin, allow_outside)
        report = benchmark(
            pipeline,
            changes.spec(pipeline),
            plan,
            changes=_as_json(changes),
            against=models,
            progress=waiting.update,
        )
        waiting.stop()
        if markdown is not None:
            from triptych.bench.markdown import markdown as as_markdown

            _write(markdown, as_markdown(report))
        if plot is not None:
            from triptych.bench.plot import plot as as_plot

            _write(plot, as_plot(report))
        if json:
            typer.echo(json_text.dumps(report.to_dict(), ensure_ascii=False))
        else:
            _print(report)


def _sides(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise InputError(f"--picture {text}: is not of the form WxH, as in 384x384")
    return int(width), int(height)


def _topics(only: list[str] | None) -> tuple[Any, ...]:
    from triptych.bench.measurement import TOPICS

    for topic in only or ():
        if topic not in TOPICS:
            raise InputError(
                f"--only {topic}: there is no such topic (topics: {', '.join(TOPICS)})"
            )
    return tuple(only) if only else TOPICS


def _pair(text: str, flag: str) -> tuple[str, str]:
    kind, equals, path = text.partition("=")
    if not equals or not path:
        raise InputError(f"{flag} {text}: is not of the form KIND=PATH")
    return kind, path


def _as_json(changes: Changes) -> dict[str, Any]:
    """The changes that were given, as the pipeline's process is told of them."""
    given = {name: value for name, value in asdict(changes).items() if value}
    return given | {"plugin": [str(path) for path in changes.plugin]} if changes.plugin else given


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror}") from error


def _print(report: Report) -> None:
    from rich import box
    from rich.table import Table

    from triptych.bench.cells import header, remarks, rows

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in header(report):
        table.add_column(column, no_wrap=True)
    for row in rows(report):
        table.add_row(*row)
    table_console().print(table)
    for remark in remarks(report):
        typer.echo(remark)
