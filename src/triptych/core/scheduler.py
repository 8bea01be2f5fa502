"""The one loop that drives all generations, and the only caller of forward passes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from triptych.core.clock import Clock
from triptych.core.errors import InputError, PluginError, TriptychError
from triptych.core.execution import Executor
from triptych.core.generation import RunningGeneration
from triptych.core.ports import Array
from triptych.core.sequence import Sequence
from triptych.core.spans import Logits, Span, Strategy
from triptych.core.turns import Turns

_DEFAULT_CHUNK = 2048
"""Tokens that one slice forwards at the most, so that a long prompt's memory stays flat."""


_PATIENCE = 1.0
"""Seconds after which a reader looks by itself whether the loop goes on: Ctrl-C may come between
any two steps of the one that should have told it."""


@dataclass(eq=False)
class _Wanted:
    """A span that a strategy waits for, and the logits there are: float32 [rows, V] in parts."""

    span: Span
    parts: list[Array] = field(default_factory=list)

    @property
    def missing(self) -> int:
        return self.span.rows - sum(map(len, self.parts))

    @property
    def logits(self) -> Array:
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)


@dataclass(eq=False)
class Job:
    """A generation and the strategy that drives it.

    release: gives back what the generation holds; called once, when it has ended.
    cancelled: set it from any thread; the generation then ends before its next slice.
    done: it has ended. error: why, if it was not meant to.
    """

    generation: RunningGeneration
    steps: Generator[list[Span], list[Logits], None]
    name: str
    release: Callable[[], None]
    wanted: list[_Wanted] = field(default_factory=list)
    cancelled: bool = False
    done: bool = False
    error: Exception | None = None

    @property
    def ready(self) -> bool:
        """Whether there is something to read, or nothing more to come."""
        return self.done or bool(self.generation.pieces)


class Scheduler:
    """Drives the generations of one pipeline, from as many threads as there are callers.

    Of those that wait for text, one drives the loop, and after each round all that have some go
    on. A round forwards one slice of each live generation, so none waits for another to end.

    chunk: tokens that one slice forwards at the most.
    """

    def __init__(self, executor: Executor, *, chunk: int | None = None) -> None:
        self._executor = executor
        self._whole = executor.wiring.whole
        self._chunk = executor.max_length if self._whole else chunk or _DEFAULT_CHUNK
        self._live: list[Job] = []
        self._discarded: deque[Sequence] = deque()
        self._turns = Turns()
        self._owner: int | None = None
        self._rounds = threading.Condition()
        self._driven = False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the one caller of stages and caches, with no abandoned job left among the live.

        Raises PluginError for a component that calls the pipeline that is running it.
        """
        self._refuse_recursion()
        self._turns.acquire()
        self._owner = threading.get_ident()
        try:
            self._sweep()
            yield
        finally:
            self._owner = None
            self._turns.release()

    @property
    def company(self) -> int:
        """How many generations a step of one token is forwarded for at once."""
        return 1

    def submit(
        self,
        generation: RunningGeneration,
        strategy: Strategy,
        name: str,
        *,
        release: Callable[[], None],
    ) -> Job:
        """Begin a generation; it moves when somebody calls `advance`. See `Job`."""
        steps = strategy.run(generation)
        if not isinstance(steps, Generator):
            raise PluginError(f"strategy {name} does not yield: its `run` must be a generator")
        job = Job(generation, steps, name, release)
        with self.exclusive():
            self._live.append(job)
        return job

    def advance(self, job: Job) -> None:
        """Run one round, or wait for the one that somebody else runs.

        Unless `job` has something to read, or has ended meanwhile. Raises PluginError as
        `exclusive` does.
        """
        self._refuse_recursion()
        driving = False
        try:
            with self._rounds:
                while self._driven and not job.ready:
                    self._rounds.wait(_PATIENCE)
                if job.ready:
                    return
                driving = self._driven = True
            with self.exclusive():
                for live in self._live:
                    self._step(live)
        finally:
            if driving:
                self._driven = False
                with self._rounds:
                    self._rounds.notify_all()

    def withdraw(self, job: Job) -> None:
        """End a job where it is; called within `exclusive`."""
        job.cancelled = True
        self._sweep()

    def abandon(self, job: Job) -> None:
        """End a job that nobody will read: now, or in the round that is running.

        Never waits, because the garbage collector may call it in the midst of a round.
        """
        job.cancelled = True
        self._try_to_sweep()

    def discard(self, sequences: Iterable[Sequence]) -> None:
        """Give back the caches of sequences that nobody has any more; never waits."""
        self._discarded.extend(sequences)
        self._try_to_sweep()

    def collect(self, span: Span, clock: Clock) -> Array:
        """All of a span's logits, float32 [rows, V], without a strategy."""
        wanted = _Wanted(span)
        while wanted.missing:
            with self.exclusive():
                part = self._forward(span, clock)
                if part is not None:
                    wanted.parts.append(part.copy())
        return wanted.logits

    def _refuse_recursion(self) -> None:
        if self._owner == threading.get_ident():
            raise PluginError(
                "a component calls the pipeline that is just running it; give it a pipeline of "
                "its own"
            )

    def _forward(self, span: Span, clock: Clock) -> Array | None:
        """Forward one slice of what is pending in the span's sequence.

        Returns the logits of those of its wanted rows that lie in the slice, or None. They
        are valid until the next slice.
        """
        sequence = span.sequence
        self._executor.enter(sequence, clock)
        length, begin = len(sequence), sequence.forwarded
        stop = min(length, begin + min(self._chunk, self._executor.room(sequence)))
        if stop <= begin:
            raise PluginError(
                "there is nothing to forward: a visual-token reducer dropped all that was "
                "pending, or a cache has no room"
            )
        if self._whole and stop < length:
            raise InputError(
                f"a stage must see the whole prompt of {length - begin} tokens, and a cache takes "
                f"{stop - begin} at once; shorten it, or choose another cache"
            )
        wanted = stop - max(length - span.rows, begin)
        logits = self._executor.forward(sequence, stop, max(wanted, 1), clock)
        return logits if wanted > 0 else None

    def _step(self, job: Job) -> None:
        """One slice, and the strategy's answer to it when its spans are complete."""
        if job.done:
            return
        try:
            if not job.wanted:
                self._ask(job, None)
            if job.wanted and self._gather(job):
                generation = job.generation
                if generation.prefill_seconds is None:
                    generation.prefill_seconds = generation.clock.forward
                self._ask(job, [wanted.logits for wanted in job.wanted])
        except Exception as error:  # noqa: BLE001 - raised to whoever waits for this job
            job.error = error
        if job.error is not None or job.generation.finish_reason is not None:
            self._end(job)

    def _gather(self, job: Job) -> bool:
        """Forward one slice for the first span that lacks logits; whether none lacks any now."""
        wanted = next(wanted for wanted in job.wanted if wanted.missing)
        part = self._forward(wanted.span, job.generation.clock)
        if part is not None:
            wanted.parts.append(part)
        if not any(wanted.missing for wanted in job.wanted):
            return True
        if part is not None:
            wanted.parts[-1] = part.copy()  # The next slice may use its memory.
        return False

    def _ask(self, job: Job, logits: list[Logits] | None) -> None:
        """Send the strategy its logits, and take the spans that it wants next."""
        try:
            spans: Any = next(job.steps) if logits is None else job.steps.send(logits)
        except StopIteration:
            if job.generation.finish_reason is None:
                raise PluginError(
                    f"strategy {job.name} returned before the generation had ended; it goes on "
                    "until `emit` gives True"
                ) from None
            return
        except TriptychError:
            raise
        except Exception as cause:
            raise PluginError(
                f"strategy {job.name} raised {type(cause).__name__}: {cause}"
            ) from cause
        if not isinstance(spans, list) or not all(isinstance(span, Span) for span in spans):
            raise PluginError(
                f"strategy {job.name} yielded {spans!r}; it must yield a list of Spans"
            )
        if not spans:
            raise PluginError(f"strategy {job.name} asked for no span; it must yield one at least")
        if len({id(span.sequence) for span in spans}) < len(spans):
            raise PluginError(
                f"strategy {job.name} asked for two spans of one sequence; ask for one of more rows"
            )
        for span in spans:
            if not 1 <= span.rows <= span.sequence.pending:
                raise PluginError(
                    f"strategy {job.name} wants the logits of {span.rows} tokens, but "
                    f"{span.sequence.pending} are pending; append first, and ask for those"
                )
        job.wanted = [_Wanted(span) for span in spans]

    def _try_to_sweep(self) -> None:
        if self._turns.try_acquire():
            try:
                self._sweep()
            finally:
                self._turns.release()

    def _sweep(self) -> None:
        """End what was cancelled, forget what has ended, and close what was discarded."""
        for job in self._live:
            if job.cancelled:
                self._end(job)
        self._live = [job for job in self._live if not job.done]
        while self._discarded:
            self._discarded.popleft().close()

    @staticmethod
    def _end(job: Job) -> None:
        """End a job once; whatever it raises is its own error."""
        if job.done:
            return
        job.done = True
        for act in (job.steps.close, job.generation.cancel, job.release):
            try:
                act()
            except Exception as cause:  # noqa: BLE001 - it may be anybody's code
                job.error = job.error or PluginError(
                    f"strategy {job.name} could not be ended: {type(cause).__name__}: {cause}"
                )
