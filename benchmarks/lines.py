"""The memory that `triptych batch` takes: the most that was resident, for few lines and for many.

    python benchmarks/lines.py [--lines N ...] [--asked N ...]

Generated lines, in and out, by processes of their own: `--lines` by a worker without a model, whose
every thousandth answer comes 900 lines late, as a long reply does; `--asked` by the built-in model.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.reply import Reply, Timings, Usage
from triptych.workbench.engines.local import LocalEngine
from triptych.workbench.engines.written_pipeline import WrittenPipeline
from triptych.workbench.lines.asking import Asking
from triptych.workbench.lines.batch import Batch
from triptych.workbench.lines.batch_request import Reading
from triptych.workbench.lines.output import OutputFile
from triptych.workbench.lines.record import Record, record_of

KIB = 1024
LATE = 900
"""Lines by which one answer in a thousand is late."""


class Echo:
    """A recipe, and its worker: the answer is the question."""

    def open(self) -> Echo:
        """Nothing is loaded."""
        return self

    def answer(self, tasks: Iterable[Any]) -> Iterator[Record]:
        """One record for each question."""
        late: list[Any] = []
        for task in tasks:
            if task.line % 1000 == 1:
                late.append(task)
            else:
                yield self._record(task)
            if late and task.line - late[0].line >= LATE:
                yield self._record(late.pop())
        yield from map(self._record, late)

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def _record(task: Any) -> Record:
        usage, timings = Usage(9, 0, 8), Timings(0.0, 0.0, 0.0, 0.0)
        return record_of(task, Reply(task.request.text, (1,) * 8, "eos", usage, timings, 0))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, nargs="*", default=[10_000, 1_000_000])
    parser.add_argument("--asked", type=int, nargs="*", default=[5_000, 20_000])
    parser.add_argument("--one", nargs=2, metavar=("RECIPE", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        answer(options.one[0], int(options.one[1]))
        return
    print("| answered by | lines | seconds | MiB at the most |\n|---|---|---|---|", flush=True)
    for recipe, counts in (("nobody", options.lines), ("sketch", options.asked)):
        for count in counts:
            command = [sys.executable, __file__, "--one", recipe, str(count)]
            subprocess.run(command, check=True)  # noqa: S603 - the command is this file


def answer(name: str, count: int) -> None:
    """Answer so many lines, and print a row."""
    spec = load_spec("sketch", catalog=Catalog([]))
    recipe: Any = Echo() if name == "nobody" else Asking(WrittenPipeline.of(spec))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        with source.open("w", encoding="utf-8") as file:
            for number in range(count):
                text = f"What is {number} plus {number % 7}?"
                file.write(f"{json.dumps({'text': text, 'id': f'question {number}'})}\n")
        begin = time.perf_counter()
        with source.open("rb") as lines, OutputFile.open(target) as output:
            reading = Reading(Path(folder), {"max_new_tokens": 4})
            for tally in Batch(lines, output, reading).run(LocalEngine(), recipe):
                done = tally.records
        seconds = time.perf_counter() - begin
        with target.open("rb") as written:
            found = sum(1 for _ in written)
    if not done == found == count:
        raise SystemExit(f"{found} records of {count} lines")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB
    print(f"| {name} | {count:,} | {seconds:.0f} | {largest:.1f} |")


if __name__ == "__main__":
    main()
