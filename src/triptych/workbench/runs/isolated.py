"""Tasks of arms that share nothing: each arm has a process, and one of them works at a time."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from triptych.core.errors import TriptychError, words_of
from triptych.workbench.runs.recipe import ArmsRecipe
from triptych.workbench.runs.task import Outcome, Task

TRIES = 2
"""Processes that one task may take down before the whole is given up."""


class WorkerDied(TriptychError):
    """A process ended in the midst of its work."""

    exit_code = 1


class WorkerFailed(TriptychError):
    """A process could not do its work; the message is that of what it raised."""


@dataclass(frozen=True)
class _Raised:
    """What a child sends in the place of an exception, which need not be one that can travel."""

    text: str
    exit_code: int


def in_own_processes(
    recipes: Mapping[str, ArmsRecipe], tasks: Iterable[Task]
) -> Generator[Outcome, None, None]:
    """The outcome of each task, one after the other, from the process of its arm.

    recipes: of each arm. A process is made for its arm's first task, which it answers once more
    before, so that what only a first answer takes is in none. All stay until the end: arms that
    take turns are measured under the same conditions, however these change meanwhile.
    Raises WorkerFailed and WorkerDied.
    """
    children: dict[str, _Child] = {}
    try:
        for task in tasks:
            for left in reversed(range(TRIES)):
                try:
                    if task.arm not in children:
                        children[task.arm] = _Child(recipes[task.arm])
                        children[task.arm].ask(task)
                    yield children[task.arm].ask(task)
                    break
                except WorkerDied:
                    children.pop(task.arm).close()
                    if not left:
                        raise
    finally:
        for child in children.values():
            child.close()


class _Child:
    """One process; it ends when its input does, so that it never outlives this one for long."""

    def __init__(self, recipe: ArmsRecipe) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this module
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._opened = False
        self._send(sys.path)
        self._send(recipe)

    def ask(self, task: Task) -> Outcome:
        """The result of a task. Raises WorkerFailed and WorkerDied."""
        if not self._opened:
            self._receive()
            self._opened = True
        self._send(task)
        outcome: Outcome = self._receive()
        return outcome

    def close(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        # It has nothing to save, and may be in the midst of a long answer.
        self._process.terminate()
        self._process.wait()

    def _send(self, value: object) -> None:
        try:
            pickle.dump(value, _open(self._process.stdin))
            _open(self._process.stdin).flush()
        except BrokenPipeError:
            raise self._death() from None

    def _receive(self) -> Any:
        try:
            value = pickle.load(_open(self._process.stdout))  # noqa: S301 - from our own child
        except (EOFError, pickle.UnpicklingError):
            raise self._death() from None
        if isinstance(value, _Raised):
            error = WorkerFailed(value.text)
            error.exit_code = value.exit_code  # type: ignore[misc]  # a constant of most errors
            raise error
        return value

    def _death(self) -> WorkerDied:
        code = self._process.wait()
        return WorkerDied(
            f"the process that runs an arm ended with code {code}; a machine with too little "
            "memory ends processes so"
        )


def serve(source: IO[bytes], target: IO[bytes]) -> None:
    """What the child does: open the recipe, then one result for each task, until there are none."""
    sys.path[:] = pickle.load(source)  # noqa: S301 - from our own parent
    try:
        worker = pickle.load(source).open()  # noqa: S301 - from our own parent
        _answer(target, None)
        while True:
            try:
                task = pickle.load(source)  # noqa: S301 - from our own parent
            except EOFError:
                break
            for result in worker.answer([task]):
                _answer(target, result)
        worker.close()
    except Exception as error:  # noqa: BLE001 - raised by whoever made this process
        _answer(target, _Raised(words_of(error), getattr(error, "exit_code", 1)))


def _answer(target: IO[bytes], value: object) -> None:
    pickle.dump(value, target)
    target.flush()


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    """A pipe of a process that was made with pipes."""
    if stream is None:
        raise RuntimeError("a process without pipes")
    return stream


def main() -> None:
    """Be a child."""
    # What anybody prints goes to stderr: the real output speaks pickle.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear.
    with suppress(BrokenPipeError):
        serve(sys.stdin.buffer, results)


if __name__ == "__main__":
    # What is pickled here is of the module that the parent knows, not of `__main__`.
    from triptych.workbench.runs import isolated  # noqa: PLW0406

    isolated.main()
