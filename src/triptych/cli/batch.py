"""`triptych batch`: a file of requests, a file of replies."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import IO, TYPE_CHECKING, Annotated, NamedTuple

import typer

from triptych.cli import arguments as args
from triptych.cli.interrupt import Interruptible
from triptych.cli.opening import Changes, Sampling
from triptych.cli.progress import Progress
from triptych.cli.reporting import INTERRUPTED, reporting
from triptych.cli.terminal import Waiting, remark
from triptych.core.counted import counted
from triptych.core.errors import InputError

if TYPE_CHECKING:
    from triptych.workbench.lines.batch import Tally
    from triptych.workbench.lines.output import Output

STANDARD = "-"

SOME_FAILED = 3
"""The exit code when all was done, and some lines have errors for answers."""

EXAMPLES = args.examples(
    ("Answer a file of questions, one a line:", "triptych batch questions.jsonl answers.jsonl"),
    (
        "An exported model, short answers, drawn:",
        "triptych batch in.jsonl out.jsonl models/mine --max-new-tokens 32 --temperature 0.7",
    ),
    ("From a pipe to a pipe:", "cat questions.jsonl | triptych batch - - > answers.jsonl"),
    (
        "On the Ray cluster that RAY_ADDRESS names, or on two workers here:",
        "triptych batch in.jsonl out.jsonl models/mine --engine ray --workers 2",
    ),
)


def batch(  # noqa: PLR0913  # one parameter per flag
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN.jsonl",
            help="The requests, a JSON object a line; '-' reads them from stdin.",
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUT.jsonl", help="The replies, in the same order; '-' writes them to stdout."
        ),
    ],
    pipeline: args.PipelineArgument = args.DEFAULT_PIPELINE,
    engine: args.Engine = args.DEFAULT_ENGINE,
    workers: args.Workers = None,
    max_new_tokens: args.MaxNewTokens = None,
    temperature: args.Temperature = None,
    top_k: args.TopK = None,
    top_p: args.TopP = None,
    no_sample: args.NoSample = False,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="What the seeds of lines without one are made of.",
            rich_help_panel=args.SAMPLING,
        ),
    ] = 0,
    stop: args.Stop = None,
    set_: args.Set = None,
    insert: args.Insert = None,
    replace: args.Replace = None,
    remove: args.Remove = None,
    plugin: args.Plugin = None,
    allow_outside: args.AllowOutside = False,
    logprobs: args.Logprobs = None,
    debug: args.Debug = False,
) -> None:
    """Answer the requests of a file, in order, as many at once as the pipeline has room for.

    A line is {"text": ..., "images": [...]} or {"messages": [...]}, with
    "settings" and an "id" where it has some. A line that cannot be answered
    has an object with its "error" for an answer.

    Stop it at any moment, even with kill -9: the same command goes on where
    it stopped. After Ctrl-C the lines in progress are the last; a second one
    ends at once.

    Exit codes: 0, 3 when some lines have errors, 2 for what you can mend, 1
    for the rest, 130 after Ctrl-C.
    """
    with reporting(debug=debug), Interruptible() as interrupt:
        from triptych.workbench.engines.choice import engine_named
        from triptych.workbench.engines.written_pipeline import WrittenPipeline
        from triptych.workbench.lines.asking import Asking
        from triptych.workbench.lines.batch import Batch, prepare
        from triptych.workbench.lines.batch_request import Reading
        from triptych.workbench.lines.made_with import MadeWith, pipeline_facts, plugin_facts
        from triptych.workbench.lines.output import Done, OutputFile

        chosen = engine_named(engine, workers=workers)
        changes = Changes(set_, insert, replace, remove, plugin, allow_outside)
        spec = changes.spec(pipeline, Sampling(temperature, top_k, top_p, no_sample))
        given = {"max_new_tokens": max_new_tokens, "stop": stop or None, "logprobs": logprobs}
        settings = {name: value for name, value in given.items() if value is not None}
        files = plugin or []
        with _input(source) as lines, _output(target, lines.path) as output:
            done = Done()
            if isinstance(output, OutputFile):
                with Waiting(f"looking at {pipeline}"):
                    facts = MadeWith(pipeline_facts(spec), plugin_facts(files), settings, seed)
                    done = prepare(lines.path, output, facts)
            stopping = Event()
            interrupt.cancel = stopping.set
            asked = Batch(
                lines.file, output, Reading(lines.folder, settings, seed), done, stopping.is_set
            )
            recipe = Asking(WrittenPipeline.of(spec, files))
            begun, begin = asked.tally, time.monotonic()
            _follow(asked.run(chosen, recipe), lines.size, pipeline)
        tally = asked.tally
        remark(_summary(tally, begun, time.monotonic() - begin))
        if stopping.is_set():
            if isinstance(output, OutputFile) and output.resumable:
                remark("stopped; the same command goes on")
            raise typer.Exit(INTERRUPTED)
        if tally.failed:
            raise typer.Exit(SOME_FAILED)


class _Lines(NamedTuple):
    """The requests.

    folder: where relative paths start. path, size: of a regular file, which can be read again.
    """

    file: IO[bytes]
    folder: Path
    path: Path | None = None
    size: int | None = None


@contextmanager
def _input(source: str) -> Iterator[_Lines]:
    """A file, or stdin. Raises InputError."""
    if source == STANDARD:
        yield _Lines(sys.stdin.buffer, Path())
        return
    path = Path(source)
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from error
    with file:
        regular = path.is_file()
        size = path.stat().st_size if regular else None
        yield _Lines(file, path.parent, path if regular else None, size)


@contextmanager
def _output(target: str, source: Path | None) -> Iterator[Output]:
    """A file, or stdout. Raises InputError."""
    from triptych.workbench.lines.output import OutputFile, OutputStream

    if target == STANDARD:
        yield OutputStream(sys.stdout.buffer)
        return
    path = Path(target)
    if source is not None and path.exists() and path.samefile(source):
        raise InputError(f"{target}: is the input; name another output")
    with OutputFile.open(path) as output:
        yield output


def _follow(tallies: Iterator[Tally], size: int | None, pipeline: str) -> None:
    """Do all the work, and say how far it is."""
    with Progress(f"loading {pipeline}", size) as progress:
        for tally in tallies:
            progress.show(_count(tally), tally.read)


def _count(tally: Tally) -> str:
    failed = f", {tally.failed:,} with errors" if tally.failed else ""
    return f"{counted(tally.records, 'line')}{failed}"


def _summary(tally: Tally, begun: Tally, seconds: float) -> str:
    """What was done, now and before, and how fast."""
    new = tally.records - begun.records
    before = f" ({begun.records:,} of them before)" if begun.records else ""
    speed = f" in {seconds:.1f} s, {new / seconds:,.1f} a second" if new and seconds else ""
    return f"{_count(tally)}{before}{speed}"
