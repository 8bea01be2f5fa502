"""What an engine promises: every task is answered once, whoever answers it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Protocol, TypeVar

Task_contra = TypeVar("Task_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
AnyTask = TypeVar("AnyTask")
AnyResult = TypeVar("AnyResult")


class Worker(Protocol[Task_contra, Result_co]):
    """Answers tasks in one process, as many at once as its pipelines have room for."""

    def answer(self, tasks: Iterable[Task_contra]) -> Iterator[Result_co]:
        """One result for each task, in any order; a result names its task.

        Tasks are drawn one by one, when there is room for another. A task that fails has a result
        that says so; an exception ends everything.
        """
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Recipe(Protocol[Task_contra, Result_co]):
    """How to make a worker; it can be pickled, and travels to where the worker is made."""

    def open(self) -> Worker[Task_contra, Result_co]:
        """The worker, with its models loaded."""
        ...


class Engine(Protocol):
    """Brings tasks to workers."""

    @property
    def elsewhere(self) -> bool:
        """Whether workers may be on machines that do not see our files; see `embedded`."""
        ...

    def run(
        self, recipe: Recipe[AnyTask, AnyResult], tasks: Iterable[AnyTask]
    ) -> Generator[AnyResult, None, None]:
        """One result for each task, in any order, each exactly once.

        Tasks are drawn, by the thread that reads the results, when they are needed: a million of
        them take no memory. None overtakes another by more than `FARTHEST` tasks or so. A worker
        that dies is replaced, and what it had not answered is answered by another. Closing it
        ends what is in progress.
        """
        ...
