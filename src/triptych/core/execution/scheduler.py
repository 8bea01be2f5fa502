"""The one loop that drives all generations, and the only caller of forward passes."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

from triptych.core.clock import Clock
from triptych.core.errors import InputError, PluginError
from triptych.core.execution.execution import Executor
from triptych.core.execution.job import Job, Wanted
from triptych.core.ports import Array
from triptych.core.sequences.generation import RunningGeneration
from triptych.core.sequences.sequence import Sequence
from triptych.core.spans import Span, Strategy
from triptych.core.turns import Turns
from triptych.core.wiring.needs import kept

_DEFAULT_CHUNK = 512
"""Tokens that one slice forwards at the most, so that a long prompt's memory stays flat: 2,000 at
once took 225 MB more in a model of 0.6B, and were 3 % faster."""

_SHARED_CHUNK = 128
"""The same while others wait for their next token: as long as they wait then."""

_PATIENCE = 1.0
"""Seconds after which a reader looks by itself whether the loop goes on: Ctrl-C may come between
any two steps of the one that should have told it."""


class Scheduler:
    """Drives the generations of one pipeline, from as many threads as there are callers.

    Of those that wait for text, one drives the loop, and after each round all that have some go
    on. A round is one token of each generation that is decoding, all of them together where the
    stages and caches allow it, one step of each that has drafted some, and then one slice of a
    prompt: so who is decoding never waits for more than a slice, and prompts take turns.

    Generations beyond the executor's `rows`, or beyond the memory there is for caches, wait in a
    queue and begin in their order; one alone always runs.

    chunk: the length of slices in tokens, all but the last. By default a prompt is cut into as
        few as may be, all of about the same length, and into short ones while others decode,
        unless that would change tokens because the caches are not exact.
    """

    def __init__(self, executor: Executor, *, chunk: int | None = None) -> None:
        self._executor = executor
        self._whole = executor.wiring.whole
        self._even = chunk is None
        self._chunk = executor.max_length if self._whole else chunk or _DEFAULT_CHUNK
        fixed = self._whole or not executor.exact or chunk is not None
        self._shared_chunk = self._chunk if fixed else _SHARED_CHUNK
        self._round_number = 0
        self._waiting: deque[Job] = deque()
        self._live: list[Job] = []
        self._discarded: deque[Sequence] = deque()
        self._turns = Turns()
        self._owner: int | None = None
        self._state = threading.Lock()
        self._rounds = threading.Condition(self._state)
        self._readers = 0
        self._driven = False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the one caller of stages and caches, with no abandoned job left among the live.

        Raises PluginError for a component that calls the pipeline that is running it.
        """
        self._take_turn()
        try:
            self._sweep()
            yield
        finally:
            self._end_turn()

    @property
    def company(self) -> int:
        """How many generations a step of one token is forwarded for at once, about."""
        return 1 if self._executor.alone_because else max(1, len(self._live))

    def submit(
        self,
        generation: RunningGeneration,
        strategy: Strategy,
        name: str,
        *,
        release: Callable[[], None],
        prepare: Callable[[], None] | None = None,
    ) -> Job:
        """Put a generation in the queue; it moves when somebody calls `advance`. See `Job`."""
        steps = strategy.run(generation)
        if not isinstance(steps, Generator):
            raise PluginError(f"strategy {name} does not yield: its `run` must be a generator")
        job = Job(generation, steps, name, release, prepare)
        with self.exclusive():
            self._waiting.append(job)
        return job

    def advance(self, job: Job) -> None:
        """Run one round, or wait for the one that somebody else runs.

        Unless `job` has something to read, or has ended meanwhile. Raises PluginError as
        `exclusive` does.
        """
        self._refuse_recursion()
        driving = False
        try:
            with self._state:
                while self._driven and not job.ready:
                    self._readers += 1
                    try:
                        self._rounds.wait(_PATIENCE)
                    finally:
                        self._readers -= 1
                if job.ready:
                    return
                driving = self._driven = True
            self._turns.acquire()
            self._owner = threading.get_ident()
            try:
                self._sweep()
                self._round()
            finally:
                self._end_turn()
        finally:
            if driving:
                self._driven = False
                with self._state:
                    if self._readers:
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
        wanted = Wanted(span, span.rows)
        while wanted.missing:
            with self.exclusive():
                part = self._forward(span, clock, self._chunk)
                if part is not None:
                    wanted.add(part.copy())
        return wanted.logits

    def _take_turn(self) -> None:
        self._refuse_recursion()
        self._turns.acquire()
        self._owner = threading.get_ident()

    def _end_turn(self) -> None:
        self._owner = None
        self._turns.release()

    def _refuse_recursion(self) -> None:
        if self._owner == threading.get_ident():
            raise PluginError(
                "a component calls the pipeline that is just running it; give it a pipeline of "
                "its own"
            )

    def _forward(self, span: Span, clock: Clock, chunk: int) -> Array | None:
        """Forward one slice, of `chunk` tokens at the most, of what is pending in the sequence.

        Returns the logits of those of its wanted rows that lie in the slice, or None. They
        are valid until the next slice.
        """
        sequence = span.sequence
        self._executor.enter(sequence, clock)
        # Nothing is left that was appended and has not entered.
        pending = sequence.entered - sequence.forwarded
        count = min(self._slice(pending, chunk), self._executor.room(sequence))
        if count <= 0:
            raise PluginError(
                "there is nothing to forward: a visual-token reducer dropped all that was "
                "pending, or a cache has no room"
            )
        if self._whole and count < pending:
            raise InputError(
                f"a stage must see the whole prompt of {pending} tokens, and a cache takes "
                f"{count} at once; shorten it, or choose another cache"
            )
        # The wanted ones are the last of what is pending.
        rows = max(count - max(pending - span.rows, 0), 0)
        logits = self._executor.forward(sequence, sequence.forwarded + count, rows, clock)
        return logits if rows else None

    def _slice(self, pending: int, chunk: int) -> int:
        """How many of the pending tokens come next; see the class.

        Two halves of 518 tokens take 2 % less time than 512 and 6, and 6 % less memory.
        """
        if self._even:
            return math.ceil(pending / max(math.ceil(pending / chunk), 1))
        return min(pending, chunk)

    def _round(self) -> None:
        """See the class."""
        self._round_number += 1
        if self._waiting:
            self._admit()
        steps: list[tuple[Job, Wanted]] = []
        drafts: list[tuple[Job, Wanted]] = []
        prompts: list[tuple[Job, Wanted]] = []
        for job in self._live:
            if not job.wanted and not job.done:
                self._answer(job)
            for wanted in job.wanted if not job.done else ():
                if not wanted.missing:
                    continue
                pending = wanted.span.sequence.pending
                if pending == 1:
                    steps.append((job, wanted))
                elif pending == wanted.span.rows:
                    drafts.append((job, wanted))
                else:
                    prompts.append((job, wanted))
                    break
        busy = bool(steps or drafts)
        self._decode(steps)
        for job, wanted in drafts:
            self._alone(job, wanted, self._chunk)
        if prompts:
            self._prefill(prompts, self._shared_chunk if busy else self._chunk)

    def _decode(self, steps: list[tuple[Job, Wanted]]) -> None:
        """Forward one token of each, as many as can be together."""
        if len(steps) == 1:
            self._alone(*steps[0], self._chunk)
            return
        entered = []
        for job, wanted in steps:
            if not job.done:
                try:
                    self._executor.enter(wanted.span.sequence, job.generation.clock)
                    entered.append((job, wanted))
                except Exception as error:  # noqa: BLE001 - raised to whoever waits for this job
                    self._fail(job, error)
        for group in self._groups(entered):
            members = [entered[index] for index in group if not entered[index][0].done]
            logits = self._together(members) if len(members) > 1 else None
            if logits is None:
                for job, wanted in members:
                    self._alone(job, wanted, self._chunk)
            else:
                for (_, wanted), part in zip(members, logits, strict=True):
                    wanted.add(part)
                self._answer_complete(members)

    def _groups(self, members: list[tuple[Job, Wanted]]) -> list[list[int]]:
        """Which members, by index, are forwarded together; each alone when there is no slot."""
        try:
            return self._executor.together([wanted.span.sequence for _, wanted in members])
        except Exception:  # noqa: BLE001 - raised again by the one at fault
            return [[index] for index in range(len(members))]

    def _together(self, members: list[tuple[Job, Wanted]]) -> list[Array] | None:
        """One step of several sequences; None when each is to be forwarded alone.

        So they are when it fails, and then only the one that is at fault fails again.
        """
        try:
            return self._executor.step(
                [wanted.span.sequence for _, wanted in members],
                [job.generation.clock for job, _ in members],
            )
        except Exception:  # noqa: BLE001 - raised again by the one at fault
            return None

    def _prefill(self, prompts: list[tuple[Job, Wanted]], chunk: int) -> None:
        """Forward slices of prompts, `chunk` tokens in all, of those first that waited longest."""
        left = chunk
        for job, wanted in sorted(prompts, key=lambda prompt: prompt[0].served):
            if job.done:
                continue
            left -= self._slice(wanted.span.sequence.pending, chunk)
            if left < 0:
                break
            job.served = self._round_number
            self._alone(job, wanted, chunk)

    def _alone(self, job: Job, wanted: Wanted, chunk: int) -> None:
        """Forward one slice of one sequence; whatever it raises is its own job's error."""
        if job.done:
            return
        try:
            part = self._forward(wanted.span, job.generation.clock, chunk)
        except Exception as error:  # noqa: BLE001 - raised to whoever waits for this job
            self._fail(job, error)
            return
        if part is not None:
            wanted.add(part)
            if job.waits:
                wanted.parts[-1] = kept(part)  # The next slice may use its memory.
            elif wanted in job.wanted:
                self._answer(job)

    def _answer_complete(self, members: list[tuple[Job, Wanted]]) -> None:
        """Answer the strategies that have all their logits; keep the new parts of the others."""
        complete = []
        for job, wanted in members:
            if job.waits:
                wanted.parts[-1] = kept(wanted.parts[-1])  # The next slice may use its memory.
            else:
                complete.append((job, wanted))
        for job, wanted in complete:
            # Of a strategy that waited for two spans, the first has answered it.
            if not job.done and wanted in job.wanted:
                self._answer(job)

    def _answer(self, job: Job) -> None:
        """Send a strategy what it waits for, and end the job if that ended it."""
        try:
            logits = [wanted.logits for wanted in job.wanted] if job.wanted else None
            generation = job.generation
            if logits is not None and generation.prefill_seconds is None:
                generation.prefill_seconds = generation.clock.forward
                # Now: a strategy may go on in other sequences.
                generation.image_tokens_kept = generation.sequence.visual_rows
            job.ask(logits)
        except Exception as error:  # noqa: BLE001 - raised to whoever waits for this job
            self._fail(job, error)
            return
        if job.generation.finish_reason is not None:
            job.end()

    def _fail(self, job: Job, error: Exception) -> None:
        job.error = error
        job.end()

    def _admit(self) -> None:
        """Let those in that have waited longest, as long as there is room."""
        while self._waiting and self._has_room(self._waiting[0]):
            job = self._waiting.popleft()
            self._live.append(job)
            try:
                if job.prepare is not None:
                    job.prepare()
            except Exception as error:  # noqa: BLE001 - raised to whoever waits for this job
                self._fail(job, error)

    def _has_room(self, job: Job) -> bool:
        """Whether one more may begin; what nobody uses now is given back for it."""
        live = [one for one in self._live if not one.done]
        if len(live) >= self._executor.rows:
            return False
        while not self._fits(job, live):
            if not self._executor.make_room():
                return not live
        return True

    def _fits(self, job: Job, live: list[Job]) -> bool:
        """Whether the caches have the memory for all that is there, and that may yet come."""
        executor = self._executor
        if executor.memory is None:
            return True
        coming = sum(one.tokens - one.generation.sequence.forwarded for one in (job, *live))
        return executor.cache_bytes + executor.bytes_per_token * coming <= executor.memory

    def _try_to_sweep(self) -> None:
        if self._turns.try_acquire():
            try:
                self._sweep()
            finally:
                self._turns.release()

    def _sweep(self) -> None:
        """End what was cancelled, forget what has ended, and close what was discarded."""
        ended = False
        for jobs in (self._live, self._waiting):
            for job in jobs:
                if job.cancelled:
                    job.end()
                ended = ended or job.done
        if ended:
            self._live = [job for job in self._live if not job.done]
            self._waiting = deque(job for job in self._waiting if not job.done)
        while self._discarded:
            self._discarded.popleft().close()
