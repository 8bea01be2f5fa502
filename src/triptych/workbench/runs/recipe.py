"""How a process that answers for several arms is made: text and paths, nothing that is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triptych.workbench.runs.worker import ArmsWorker


@dataclass(frozen=True)
class ArmRecipe:
    """name: the arm's. config: its resolved pipeline as YAML, which runs from any place."""

    name: str
    config: str


@dataclass(frozen=True)
class ArmsRecipe:
    """A `Recipe` of `Task`s.

    arms: that share a process. metrics: as items, their paths absolute or below `folder`.
    plugins: ``--plugin`` files. base: the arm that metrics compare with; None where none does.
    together: whether several requests are in progress at once, and arms share what they can.
    """

    arms: tuple[ArmRecipe, ...]
    metrics: tuple[Any, ...]
    folder: Path
    plugins: tuple[Path, ...] = ()
    base: ArmRecipe | None = None
    together: bool = True

    def open(self) -> ArmsWorker:
        """The worker, which loads a pipeline with its first task."""
        from triptych.workbench.runs.worker import ArmsWorker

        return ArmsWorker(self)
