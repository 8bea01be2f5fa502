"""Average normalised Levenshtein similarity: answers that are nearly right count in part."""

from __future__ import annotations

from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.dataset import Item
from triptych.core.metric import Answer
from triptych.plugins.metrics.references import texts_of


class ANLS:
    """`anls`: one less the share of letters that differ, of the nearest reference.

    0 where that is below the threshold. Capitals and white space around and between words do not
    count. Of ST-VQA and DocVQA (arXiv 1905.13648, equation 1); a similarity of just the threshold
    counts, as in the script of that challenge.
    """

    class Settings(core.Settings):
        """threshold: similarities below it count as 0."""

        threshold: float = Field(default=0.5, ge=0, le=1)

    def __init__(self, settings: Settings) -> None:
        self.threshold = settings.threshold

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Between 0 and 1."""
        said = _plain(answer.reply.text)
        best = max(similarity(said, _plain(text)) for text in texts_of(item))
        return {"anls": best if best >= self.threshold else 0.0}


def similarity(one: str, other: str) -> float:
    """1 less the edit distance over the longer one's length; 1 for two empty texts."""
    longest = max(len(one), len(other))
    return 1 - distance(one, other) / longest if longest else 1.0


def distance(one: str, other: str) -> int:
    """How many letters must be put in, left out or changed (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        before, row[0] = row[0], place
        for column, wanted in enumerate(other, 1):
            changed = before + (letter != wanted)
            before = row[column]
            row[column] = min(changed, row[column] + 1, row[column - 1] + 1)
    return row[-1]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
