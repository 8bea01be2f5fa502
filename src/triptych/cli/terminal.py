"""What people see at a terminal and programs do not: progress, and dim remarks."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from triptych.core.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PATIENCE = 1.0
"""Seconds after which a wait is shown."""

SHOW_CURSOR = "\x1b[?25h"

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters but for tab and newline."""


def harmless(text: str) -> str:
    """Model output as a terminal may have it: nothing in it moves the cursor or sets a title."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def table_console() -> Console:
    """For tables on stdout; as wide as they need where nobody looks at a screen."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 1000, soft_wrap=False)


def remark(text: str) -> None:
    """One dim line on stderr."""
    import typer

    typer.secho(text, err=True, dim=True)


@contextmanager
def decoding() -> Iterator[None]:
    """Reading stdin inside. Raises InputError where it is not text in its encoding."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"stdin is not text in {error.encoding}: {error.reason}") from error


class Waiting:
    """A line on stderr about what takes longer than a second; gone when it is done.

    Nothing is shown where stderr is no terminal. text: what is being done. counted: whether
    `update` will tell bytes.
    """

    def __init__(self, text: str, *, counted: bool = False) -> None:
        self._text = text
        self._counted = counted
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._timer: threading.Timer | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._progress = self._bar()
            self._task = self._progress.add_task(self._text, total=None)
            self._timer = threading.Timer(PATIENCE, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def update(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Say what is being done now, and how many bytes of how many are."""
        with self._lock:
            if self._progress is not None:
                self._progress.update(
                    self._task, description=text, completed=done or 0, total=total
                )

    def stop(self) -> None:
        """Take the line away. Safe to call twice."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._progress is not None:
                self._progress.stop()
            self._progress = self._timer = None

    def _show(self) -> None:
        with self._lock:
            if self._progress is not None:
                self._progress.start()

    def _bar(self) -> Progress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if self._counted:
            columns += [BarColumn(bar_width=24), DownloadColumn()]
        return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
