"""Many replies made at once by one thread: each comes out when it has ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from triptych.core.reply import Reply
from triptych.core.requests.stream import Stream

AnyTask = TypeVar("AnyTask")

FARTHEST = 1024
"""Tasks by which one may overtake another, unless something else is said."""


@dataclass(eq=False)
class Lane:
    """One pipeline, which makes all of its replies together. room: how many at once."""

    room: int


@dataclass(frozen=True)
class Ended(Generic[AnyTask]):
    """A task whose reply has ended.

    outcome: the reply, or what was raised instead. seconds: since it was begun, what ran beside it
    included.
    """

    task: AnyTask
    outcome: Reply | Exception
    seconds: float


@dataclass(frozen=True)
class _Begun(Generic[AnyTask]):
    """A task in progress. number: how many were drawn before it. at: by `time.perf_counter`."""

    number: int
    task: AnyTask
    stream: Stream
    at: float


def as_they_end(
    tasks: Iterable[AnyTask],
    begin: Callable[[AnyTask], Stream],
    *,
    room: int,
    farthest: int = FARTHEST,
) -> Iterator[tuple[AnyTask, Reply | Exception]]:
    """Each task of one pipeline with its reply, or with what was raised instead, as they end.

    See `in_lanes`.
    """
    lane = Lane(room)
    with closing(in_lanes(tasks, begin, lane=lambda _: lane, farthest=farthest)) as found:
        for ended in found:
            yield ended.task, ended.outcome


def in_lanes(
    tasks: Iterable[AnyTask],
    begin: Callable[[AnyTask], Stream],
    *,
    lane: Callable[[AnyTask], Lane],
    farthest: int = FARTHEST,
) -> Generator[Ended[AnyTask], None, None]:
    """Each task in the order in which their replies end.

    begin: starts the reply to a task; what it raises is the outcome of that task. lane: where that
    is; what it raises ends everything.
    A task is drawn when there is room for one in every lane: one that is full goes on until a
    reply of it has ended. A long reply holds nobody back until it is `farthest` tasks behind: who
    wants the results in their order never keeps more than these. Leaving early ends those that are
    in progress.
    """
    running: dict[Lane, deque[_Begun[AnyTask]]] = {}
    try:
        for number, task in enumerate(tasks):
            its = lane(task)
            queue = running.setdefault(its, deque())
            at = time.perf_counter()
            try:
                queue.append(_Begun(number, task, begin(task), at))
            except Exception as error:  # noqa: BLE001 - it is the result of this task alone
                yield Ended(task, error, time.perf_counter() - at)
            while len(queue) >= max(its.room, 1):
                yield from _go_on(queue)
            while (behind := _behind(running.values(), number - farthest)) is not None:
                yield from _go_on(behind)
        for queue in running.values():
            while queue:
                yield from _go_on(queue)
    finally:
        for queue in running.values():
            for one in queue:
                one.stream.close()


def _behind(queues: Iterable[deque[_Begun[AnyTask]]], number: int) -> deque[_Begun[AnyTask]] | None:
    """The lane with a task of that number, or an earlier one."""
    return next((queue for queue in queues if any(one.number <= number for one in queue)), None)


def _go_on(queue: deque[_Begun[AnyTask]]) -> Iterator[Ended[AnyTask]]:
    """One round of a lane, and what has ended by then."""
    # Whose turn it is drops its pieces, which nobody reads.
    queue[0].stream.advance()
    queue.rotate(-1)
    for one in sorted((one for one in queue if one.stream.ended), key=_number):
        queue.remove(one)
        yield Ended(one.task, _outcome(one.stream), time.perf_counter() - one.at)


def _number(one: _Begun[AnyTask]) -> int:
    return one.number


def _outcome(stream: Stream) -> Reply | Exception:
    try:
        return stream.reply
    except Exception as error:  # noqa: BLE001 - it is the result of this task alone
        return error
