"""Sketch as it ships: the held-out questions answered by the exported graphs, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triptych.core.pipeline import Pipeline, load
from triptych.core.reply import Reply
from triptych.core.request import Request
from triptych.models.sketch.accuracy import MAX_NEW_TOKENS
from triptych.models.sketch.conversations import Question


class Exported:
    """A pipeline, answering greedily."""

    def __init__(self, source: str | Path) -> None:
        self.pipeline: Pipeline = load(source)

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """What the pipeline says to each question."""
        return [reply.text for reply in self.replies(questions)]

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        """The same with tokens and timings."""
        return self.pipeline.generate_batch(
            [request_of(question) for question in questions],
            no_sample=True,
            max_new_tokens=MAX_NEW_TOKENS,
        )


def request_of(question: Question) -> Request:
    """The messages with each picture in its part."""
    images = iter(question.images)
    messages: list[dict[str, Any]] = []
    for message in question.messages:
        content = message["content"]
        if isinstance(content, list):
            content = [
                {"type": "image", "image": next(images)} if part["type"] == "image" else part
                for part in content
            ]
        messages.append({**message, "content": content})
    return Request(messages=messages)
