"""A reply while it is being made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from triptych.core.execution.job import Job
from triptych.core.execution.scheduler import Scheduler
from triptych.core.reply import Piece, Reply


class Stream(Iterator[Piece]):
    """Iterate over the pieces of a reply; `reply` is the whole of it.

    Leaving it early, by `close` or the end of a ``with`` block, ends the generation and gives
    its memory back; one that is merely forgotten ends, too.
    """

    def __init__(self, scheduler: Scheduler, job: Job, *, finish: Callable[[Job], Reply]) -> None:
        self._scheduler = scheduler
        self._job = job
        self._finish = finish
        self._reply: Reply | None = None
        self._raised = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        """The next piece. Raises, after the last one, what ended the reply too early."""
        job = self._job
        pieces = job.generation.pieces
        while not (pieces or job.done):
            self._scheduler.advance(job)
        if pieces:
            return pieces.popleft()
        self.close()
        if job.error is not None and not self._raised:
            self._raised = True
            raise job.error
        raise StopIteration

    def advance(self) -> None:
        """Have the pipeline take one round, in which all that are in progress have their part.

        For whoever waits for many replies and reads the pieces of none: those of this one are
        dropped; `reply` has the text.
        """
        self._job.generation.pieces.clear()
        self._scheduler.advance(self._job)

    @property
    def reply(self) -> Reply:
        """The whole reply; what has not been read yet is waited for.

        Raises what ended it too early.
        """
        for _ in self:
            pass
        if self._job.error is not None:
            raise self._job.error
        return self.close()

    @property
    def ended(self) -> bool:
        """Whether the generation has ended; there may be pieces that nobody has read yet."""
        return self._job.done

    @property
    def closed(self) -> bool:
        """Whether it was read to its end, or closed."""
        return self._reply is not None

    def cancel(self) -> None:
        """End the generation after the token it is at; `reply` has what there is."""
        self._job.cancelled = True

    def close(self) -> Reply:
        """End the generation now; what there is of the reply. Safe to call twice."""
        with self._scheduler.exclusive():
            if self._reply is None:
                self._scheduler.withdraw(self._job)
                self._reply = self._finish(self._job)
        return self._reply

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_reply", None) is None and hasattr(self, "_job"):
            self._scheduler.abandon(self._job)
