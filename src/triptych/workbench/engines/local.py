"""The engine that is always there: one worker, in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from triptych.workbench.engines.engine import AnyResult, AnyTask, Recipe


class LocalEngine:
    """Answers tasks in this process; see `Engine`."""

    elsewhere = False

    def run(
        self, recipe: Recipe[AnyTask, AnyResult], tasks: Iterable[AnyTask]
    ) -> Generator[AnyResult, None, None]:
        """See `Engine.run`. The worker is made for the first result, and closed after the last."""
        worker = recipe.open()
        try:
            yield from worker.answer(tasks)
        finally:
            worker.close()
