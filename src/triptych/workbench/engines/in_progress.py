"""Many replies made at once by one thread: each comes out when it has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from triptych.core.reply import Reply
from triptych.core.stream import Stream

AnyTask = TypeVar("AnyTask")

FARTHEST = 1024
"""Tasks by which one may overtake another, unless something else is said."""


@dataclass
class _Begun(Generic[AnyTask]):
    """A task in progress. number: how many were drawn before it."""

    number: int
    task: AnyTask
    stream: Stream


def as_they_end(
    tasks: Iterable[AnyTask],
    begin: Callable[[AnyTask], Stream],
    *,
    room: int,
    farthest: int = FARTHEST,
) -> Iterator[tuple[AnyTask, Reply | Exception]]:
    """Each task with its reply, or with what was raised instead, in the order in which they end.

    begin: starts the reply to one; a pipeline makes all of its own together, and several pipelines
    take turns. room: how many are in progress at once; another is drawn where one ends.
    A long reply holds nobody back until it is `farthest` tasks behind: who wants the results in
    their order never keeps more than these. Leaving early ends those that are in progress.
    """
    source = iter(tasks)
    running: deque[_Begun[AnyTask]] = deque()
    drawn, more = 0, True
    try:
        while more or running:
            while more and len(running) < max(room, 1) and drawn - _oldest(running) < farthest:
                try:
                    task = next(source)
                except StopIteration:
                    more = False
                    break
                drawn += 1
                try:
                    running.append(_Begun(drawn, task, begin(task)))
                except Exception as error:  # noqa: BLE001 - it is the result of this task alone
                    yield task, error
            if running:
                running[0].stream.advance()
                running.rotate(-1)
            for one in [one for one in running if one.stream.ended]:
                running.remove(one)
                yield one.task, _outcome(one.stream)
    finally:
        for one in running:
            one.stream.close()


def _oldest(running: Iterable[_Begun[AnyTask]]) -> float:
    return min((one.number for one in running), default=float("inf"))


def _outcome(stream: Stream) -> Reply | Exception:
    try:
        return stream.reply
    except Exception as error:  # noqa: BLE001 - it is the result of this task alone
        return error
