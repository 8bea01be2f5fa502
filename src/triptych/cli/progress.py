"""How far a long piece of work is, for people at a terminal and for logs."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from triptych.cli.terminal import remark

LOGGED = 30.0
"""Seconds between two lines of a log."""


class Progress:
    """A bar where stderr is a terminal; elsewhere a line from time to time.

    text: what is being done. total: of the units that `show` is given; None where nobody knows.
    """

    def __init__(self, text: str, total: int | None = None) -> None:
        self._text = text
        self._total = total
        self._bar: Any = None
        self._logged = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task(self._text, total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, text: str, done: int, total: int | None = None) -> None:
        """Say what is done, in words and in units, and of how many, if that is known by now."""
        self._total = self._total if total is None else total
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=done, total=self._total)
        elif time.monotonic() - self._logged >= LOGGED:
            self._logged = time.monotonic()
            part = f" ({done / self._total:.0%})" if self._total else ""
            remark(f"{text}{part}")


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    return Bar(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
