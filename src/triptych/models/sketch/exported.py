"""Sketch as it ships: the held-out questions answered by the exported graphs, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from triptych.core.pipeline import Pipeline, load
from triptych.core.reply import Reply
from triptych.models.sketch.accuracy import MAX_NEW_TOKENS
from triptych.models.sketch.conversations import Example
from triptych.models.sketch.dataset import request_of


class Exported:
    """A pipeline, answering greedily."""

    def __init__(self, source: str | Path) -> None:
        self.pipeline: Pipeline = load(source)

    def answer(self, examples: Sequence[Example]) -> list[str]:
        """What the pipeline says to each question."""
        return [reply.text for reply in self.replies(examples)]

    def replies(self, examples: Sequence[Example]) -> list[Reply]:
        """The same with tokens and timings."""
        return self.pipeline.generate_batch(
            [request_of(example) for example in examples],
            no_sample=True,
            max_new_tokens=MAX_NEW_TOKENS,
        )
