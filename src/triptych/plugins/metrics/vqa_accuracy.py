"""Accuracy against what several people answered, as VQA v2 has it."""

from __future__ import annotations

from triptych.core.dataset import Item
from triptych.core.metric import Answer
from triptych.plugins.metrics.references import texts_of
from triptych.plugins.metrics.vqa_words import normalized

AGREE = 3
"""So many of the others must have given an answer for it to be wholly right."""


class VQAAccuracy:
    """`vqa_accuracy` of VQA v2 (arXiv 1612.00837; defined in arXiv 1505.00468).

    The reference is the list of what people answered, ten of them in VQA v2. Each person in turn
    is left out, and the answer is as right as a third of the number of others who gave it, 1 at
    the most; the score is the mean. Answers are compared as the challenge's evaluation script
    normalises them, which leaves them as they are where all people agree to the letter. A single
    text is matched, after normalisation.
    """

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Between 0 and 1."""
        given = [_on_one_line(text) for text in texts_of(item)]
        said = _on_one_line(answer.reply.text)
        if len(given) == 1:
            return {"vqa_accuracy": float(normalized(said) == normalized(given[0]))}
        if len(set(given)) > 1:
            given, said = [normalized(text) for text in given], normalized(said)
        same = [text == said for text in given]
        shares = [min(1.0, (sum(same) - left_out) / AGREE) for left_out in same]
        return {"vqa_accuracy": sum(shares) / len(shares)}


def _on_one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()
