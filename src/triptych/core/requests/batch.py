"""Many requests, answered in their order: as many in progress as there is room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from triptych.core.errors import InputError, TriptychError
from triptych.core.reply import Reply
from triptych.core.request import Request
from triptych.core.requests.stream import Stream


class Batch:
    """Requests of which at most `concurrency` are in progress; another begins where one ends.

    requests: `Request`s; anything else is refused in its turn. begin: starts the reply to one.
    """

    def __init__(
        self, requests: Iterable[object], begin: Callable[[Request], Stream], concurrency: int
    ) -> None:
        self._waiting = deque(enumerate(requests))
        self._begin = begin
        self._concurrency = concurrency
        self._running: deque[tuple[str, Stream]] = deque()
        self._refused: TriptychError | None = None

    def replies(self) -> list[Reply]:
        """All replies. Raises the error of the first request that fails, and names it.

        The ones before it are done by then, and those after it are ended.
        """
        replies = []
        try:
            self._fill()
            while self._running:
                name, stream = self._running[0]
                try:
                    for _ in stream:
                        self._fill()
                    replies.append(stream.reply)
                except TriptychError as error:
                    raise _named(error, name) from error.__cause__
                self._running.popleft()
                self._fill()
        finally:
            for _, stream in self._running:
                stream.close()
        if self._refused is not None:
            raise self._refused
        return replies

    def _fill(self) -> None:
        """Begin as many as there is room for."""
        busy = sum(not stream.ended for _, stream in self._running)
        while self._waiting and busy < self._concurrency:
            index, request = self._waiting.popleft()
            if not isinstance(request, Request):
                self._refused = InputError(
                    f"requests[{index}] is {type(request).__name__}; give triptych.Request(text)"
                )
                self._waiting.clear()
                return
            name = f"requests[{index}]" + ("" if request.id is None else f" (id {request.id!r})")
            try:
                self._running.append((name, self._begin(request)))
            except TriptychError as error:
                # Raised when those before it are done.
                self._refused = _named(error, name)
                self._waiting.clear()
            busy += 1


def _named(error: TriptychError, name: str) -> TriptychError:
    """The same error, which says whose it is."""
    error.args = (f"{name}: {error}", *error.args[1:])
    return error
