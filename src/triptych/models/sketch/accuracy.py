"""Exact match on held-out questions, whoever answers them (torch, ONNX graphs, a person)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from triptych.models.sketch.conversations import TARGETS, TASKS, Example, held_out

Answer = Callable[[Sequence[Example]], Sequence[str]]
"""Gives, for each question, the text that a model answers it with."""

MAX_NEW_TOKENS = 120
"""More than the longest answer has."""


@dataclass
class Score:
    """What happened on one task."""

    task: str
    right: int = 0
    total: int = 0
    misses: list[tuple[Example, str]] = field(default_factory=list)
    """Questions answered wrongly, with what was said."""

    @property
    def percent(self) -> float:
        """Exact matches per hundred questions."""
        return 100 * self.right / max(1, self.total)


def measure(
    answer: Answer,
    *,
    per_task: int,
    tasks: Sequence[str] = TASKS,
    seed: int = 0,
    side: int = 192,
    any_size: bool = False,
) -> list[Score]:
    """Ask `per_task` held-out questions of each task; an answer counts when it is the very text."""
    scores = []
    for task in tasks:
        examples = list(held_out(task, per_task, seed=seed, side=side, any_size=any_size))
        score = Score(task)
        for example, said in zip(examples, answer(examples), strict=True):
            score.total += 1
            if said == example.answer:
                score.right += 1
            else:
                score.misses.append((example, said))
        scores.append(score)
    return scores


def table(columns: dict[str, list[Score]]) -> str:
    """Markdown: a row per task, its target, and a column per title."""
    lines = [
        "| task | target | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for scores in zip(*columns.values(), strict=True):
        task = scores[0].task
        target = f"{TARGETS[task]} %" if task in TARGETS else ""
        cells = " | ".join(f"{score.percent:.1f} %" for score in scores)
        lines.append(f"| {task} | {target} | {cells} |")
    return "\n".join(lines)
