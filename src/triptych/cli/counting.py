"""How far something is that is made of many equal parts, on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from triptych.cli.terminal import remark

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE = 30.0
"""Seconds between two lines where stderr is no terminal."""


class Counting:
    """A bar where people look; where a program does, a line now and then. unit: of what."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._done = self._total = 0
        self._bar: Progress | None = None
        self._task: Any = None
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = _made_bar()
            self._task = self._bar.add_task(self._unit, total=None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def said(self) -> str:
        """How many of how many."""
        return f"{self._done:,} of {self._total:,} {self._unit} are done"

    def update(self, done: int, total: int) -> None:
        """Say how many of how many are done."""
        self._done, self._total = done, total
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif time.monotonic() - self._said > _PATIENCE:
            self._said = time.monotonic()
            remark(self.said)

    def stop(self) -> None:
        """Take the bar away. Safe to call twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _made_bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
