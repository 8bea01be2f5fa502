"""Whether an answer is the very text that was wanted."""

from __future__ import annotations

from triptych.core.dataset import Item
from triptych.core.metric import Answer
from triptych.plugins.metrics.references import texts_of


class ExactMatch:
    """`exact_match`: 1 where the answer is the reference, or one of several, to the letter.

    White space around the answer does not count.
    """

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """0 or 1."""
        said = answer.reply.text.strip()
        return {"exact_match": float(any(said == text.strip() for text in texts_of(item)))}
