"""The one loop that drives all generations, and the only caller of forward passes."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from triptych.core.errors import PluginError, TriptychError
from triptych.core.execution import Clock, Executor
from triptych.core.generation import RunningGeneration
from triptych.core.ports import Array
from triptych.core.spans import Logits, Span, Strategy

_DEFAULT_CHUNK = 2048
"""Tokens that one slice forwards at the most, so that a long prompt's memory stays flat."""


@dataclass(eq=False)
class Job:
    """A generation and the strategy that drives it.

    spans: what the strategy waits for. rows: the logits collected for each span so far.
    """

    generation: RunningGeneration
    steps: Generator[list[Span], list[Logits], None]
    name: str
    spans: list[Span] = field(default_factory=list)
    rows: list[list[Array]] = field(default_factory=list)
    started: bool = False
    done: bool = False
    error: BaseException | None = None


class Scheduler:
    """Drives the generations of one pipeline, from as many threads as there are callers.

    Whoever waits for text drives the loop: it takes the lock and runs rounds until its own
    generation has some. A round forwards one slice of each live generation, so none waits for
    another to end.

    chunk: tokens that one slice forwards at the most.
    """

    def __init__(self, executor: Executor, *, chunk: int | None = None) -> None:
        self.executor = executor
        self.lock = threading.RLock()
        self._chunk = chunk or _DEFAULT_CHUNK
        if any(wired.stage.whole for wired in executor.wiring.stages):
            self._chunk = executor.max_length
        self._live: list[Job] = []

    def submit(self, generation: RunningGeneration, strategy: Strategy, name: str) -> Job:
        """Begin a generation; it moves when somebody calls `advance`."""
        job = Job(generation, strategy.run(generation), name)
        with self.lock:
            self._live.append(job)
        return job

    def advance(self, job: Job) -> None:
        """Run one round, unless `job` has something to read or has ended meanwhile.

        Raises what ended `job`: an error of its strategy, of a stage, of its chain.
        """
        with self.lock:
            if not job.done and not job.generation.pieces:
                for live in list(self._live):
                    self._step(live)
                self._live = [live for live in self._live if not live.done]
        if job.error is not None and not job.generation.pieces:
            raise job.error

    def withdraw(self, job: Job) -> None:
        """Take a generation out, wherever it is."""
        with self.lock:
            job.done = True
            job.steps.close()
            if job in self._live:
                self._live.remove(job)

    def collect(self, span: Span, clock: Clock) -> Array:
        """All of a span's logits, float32 [rows, V], without a strategy."""
        parts: list[Array] = []
        while sum(map(len, parts)) < span.rows:
            with self.lock:
                part = self.forward(span, clock)
            if part is not None:
                parts.append(part)
        return np.concatenate(parts)

    def forward(self, span: Span, clock: Clock) -> Array | None:
        """Forward one slice of what is pending in the span's sequence.

        Returns the logits of those of its wanted rows that lie in the slice, or None.
        """
        sequence = span.sequence
        self.executor.enter(sequence, clock)
        length = len(sequence)
        room = self.executor.room(sequence)
        stop = min(length, sequence.forwarded + min(self._chunk, room))
        first_wanted = length - span.rows
        wanted = stop - max(first_wanted, sequence.forwarded)
        logits = self.executor.forward(sequence, stop, max(wanted, 1), clock)
        return logits if wanted > 0 else None

    def _step(self, job: Job) -> None:
        """One slice, and the strategy's answer to it when its spans are complete."""
        try:
            if job.generation.finish_reason is not None and job.started:
                self._end(job)
                return
            if not job.started:
                job.started = True
                self._ask(job, None)
                return
            for span, rows in zip(job.spans, job.rows, strict=True):
                if sum(map(len, rows)) < span.rows:
                    part = self.forward(span, job.generation.clock)
                    if part is not None:
                        rows.append(part)
                    break
            if all(
                sum(map(len, rows)) >= span.rows
                for span, rows in zip(job.spans, job.rows, strict=True)
            ):
                generation = job.generation
                if generation.prefill_seconds is None:
                    generation.prefill_seconds = generation.clock.forward
                self._ask(
                    job, [part[0] if len(part) == 1 else np.concatenate(part) for part in job.rows]
                )
        except Exception as error:  # noqa: BLE001 - raised to whoever waits for this job
            job.error = error
            self._end(job)

    def _ask(self, job: Job, logits: list[Logits] | None) -> None:
        """Send the strategy its logits, and take the spans that it wants next."""
        try:
            spans = next(job.steps) if logits is None else job.steps.send(logits)
        except StopIteration:
            job.generation.cancel()
            self._end(job)
            return
        except TriptychError:
            raise
        except Exception as cause:
            raise PluginError(
                f"strategy {job.name} raised {type(cause).__name__}: {cause}"
            ) from cause
        if not spans:
            raise PluginError(f"strategy {job.name} asked for no span; it must yield one at least")
        for span in spans:
            if not 1 <= span.rows <= span.sequence.pending:
                raise PluginError(
                    f"strategy {job.name} wants the logits of {span.rows} tokens, but "
                    f"{span.sequence.pending} are pending; append first, and ask for those"
                )
        job.spans, job.rows = list(spans), [[] for _ in spans]

    @staticmethod
    def _end(job: Job) -> None:
        job.done = True
        job.steps.close()
