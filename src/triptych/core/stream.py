"""A reply while it is being made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from triptych.core.reply import Piece, Reply
from triptych.core.scheduler import Job, Scheduler


class Stream(Iterator[Piece]):
    """Iterate over the pieces of a reply; `reply` is the whole of it.

    Leaving it early (`close`, the end of a ``with`` block, or the garbage collector) ends the
    generation and gives its memory back.
    """

    def __init__(self, scheduler: Scheduler, job: Job, *, finish: Callable[[Job], Reply]) -> None:
        self._scheduler = scheduler
        self._job = job
        self._finish = finish
        self._reply: Reply | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        """The next piece. Raises what the pipeline raised while making it."""
        generation = self._job.generation
        while not generation.pieces and not self._job.done:
            try:
                self._scheduler.advance(self._job)
            except Exception:
                self.close()
                raise
        if generation.pieces:
            return generation.pieces.popleft()
        self.close()
        raise StopIteration

    @property
    def reply(self) -> Reply:
        """The whole reply; what has not been read yet is waited for."""
        for _ in self:
            pass
        return self.close()

    def cancel(self) -> None:
        """End the generation after the token it is at; `reply` has what there is."""
        self._job.generation.cancel()

    def close(self) -> Reply:
        """End the generation now; what there is of the reply. Safe to call twice."""
        if self._reply is None:
            self._scheduler.withdraw(self._job)
            self._job.generation.cancel()
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
        if getattr(self, "_job", None) is not None:
            self.close()
