"""A whole batch: lines in, records out, going on where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from triptych.core.errors import InputError
from triptych.workbench.engines.embedded import embedded
from triptych.workbench.engines.engine import Engine, Recipe
from triptych.workbench.lines.batch_request import BatchRequest, Reading
from triptych.workbench.lines.in_order import InOrder
from triptych.workbench.lines.made_with import SUFFIX, MadeWith
from triptych.workbench.lines.output import Done, Output, OutputFile
from triptych.workbench.lines.record import Record
from triptych.workbench.lines.source import fingerprint, lines_of


@dataclass(frozen=True)
class Tally:
    """records, failed: written by now, by earlier runs, too. read: bytes of the input."""

    records: int
    failed: int
    read: int


def prepare(source: Path | None, output: OutputFile, made_with: MadeWith) -> Done:
    """What of a batch is done already; the output is ready to be appended to.

    source: None for what can be read but once. made_with: without its input. Raises InputError
    where the output is of another pipeline, other settings, or another input.
    """
    if not output.resumable:
        return Done()
    path = output.path
    beside = path.with_name(path.name + SUFFIX)
    anew = "name another output, or remove this one to begin anew"
    if output.size == 0:
        now = None if source is None else fingerprint(source)[0]
        replace(made_with, input=now).write(beside)
        return Done()
    before = MadeWith.read(beside)
    if before is None:
        raise InputError(
            f"{path}: is not empty, and no {beside.name} says what it was made with; {anew}"
        )
    if source is None or before.input is None:
        raise InputError(
            f"{path}: is not empty, and what comes from a pipe cannot be read again to go on; "
            f"{anew}, and keep the input in a file"
        )
    change = before.difference(made_with)
    if change is not None:
        raise InputError(f"{path}: was made otherwise: {change}; give the same again, {anew}")
    now, same = fingerprint(source, before.input)
    if not same:
        raise InputError(
            f"{path}: {source} has changed since; lines may only be added at its end: put it back, "
            f"{anew}"
        )
    done = output.done()
    replace(made_with, input=now).write(beside)
    output.go_on(done.end)
    return done


@dataclass
class Batch:
    """Asks what the lines of `file` ask, and has the records written in their order.

    done: what was written before. stopped: asked before each line is drawn; once it says True,
    those in progress are the last. tally: how far it is.
    """

    file: IO[bytes]
    output: Output
    reading: Reading
    done: Done = field(default_factory=Done)
    stopped: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self._read = 0
        self.tally = Tally(self.done.records, self.done.failed, 0)

    def run(self, engine: Engine, recipe: Recipe[BatchRequest, Record]) -> Iterator[Tally]:
        """One tally for each record, when it has been written.

        Raises what ends an engine, and OutputError.
        """
        order = InOrder()
        requests = order.noting(self._requests())
        if engine.elsewhere:
            requests = map(_with_files, requests)
        with closing(engine.run(recipe, requests)) as answers:
            for record in order.sorted(answers):
                self.output.write(record.content)
                last = self.tally
                self.tally = Tally(last.records + 1, last.failed + record.failed, self._read)
                yield self.tally

    def _requests(self) -> Iterator[BatchRequest]:
        for line in lines_of(self.file, after=self.done.line):
            if self.stopped():
                return
            self._read = line.end
            yield self.reading.request(line)


def _with_files(asked: BatchRequest) -> BatchRequest:
    if asked.request is None:
        return asked
    return replace(asked, request=embedded(asked.request))
