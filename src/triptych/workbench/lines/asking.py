"""Workers that answer the lines of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from triptych.core.errors import InputError
from triptych.core.pipeline import Pipeline
from triptych.core.requests.stream import Stream
from triptych.workbench.engines.in_progress import as_they_end
from triptych.workbench.engines.written_pipeline import WrittenPipeline
from triptych.workbench.lines.batch_request import BatchRequest
from triptych.workbench.lines.record import Record, record_of


@dataclass(frozen=True)
class Asking:
    """The recipe of a worker that asks a pipeline."""

    pipeline: WrittenPipeline

    def open(self) -> Asker:
        """See `Recipe.open`. Raises ConfigError and GraphError."""
        return Asker(self.pipeline.load())


class Asker:
    """Asks one pipeline, of as many lines at once as its `session.max_batch` says."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def answer(self, tasks: Iterable[BatchRequest]) -> Iterator[Record]:
        """See `Worker.answer`."""
        room = self._pipeline.spec.session.max_batch
        for asked, outcome in as_they_end(tasks, self._begin, room=room):
            yield record_of(asked, outcome)

    def close(self) -> None:
        """See `Worker.close`: all is in memory."""

    def _begin(self, asked: BatchRequest) -> Stream:
        if asked.request is None:
            raise InputError(asked.error or "has no request")
        return self._pipeline.stream(asked.request)
