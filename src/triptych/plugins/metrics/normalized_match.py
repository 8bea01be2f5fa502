"""Whether an answer is what was wanted, but for capitals, punctuation and articles."""

from __future__ import annotations

from collections import Counter

from triptych.core.dataset import Item
from triptych.core.metric import Answer
from triptych.plugins.metrics.references import texts_of
from triptych.plugins.metrics.words import squad


class NormalizedMatch:
    """`normalized_match` and `token_f1`, as SQuAD scores answers (arXiv 1606.05250).

    Answer and references are made lower case, ASCII punctuation and the articles a, an and the
    are left out, and white space becomes one space between words. `normalized_match` is 1 where
    the answer is then one of the references; `token_f1` is the harmonic mean of the share of
    the answer's words that the reference has and of the reference's that the answer has, with the
    reference that it is highest for. Where one of the two has no words left, it is 1 if neither
    has.
    """

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Both between 0 and 1."""
        said = squad(answer.reply.text)
        wanted = [squad(text) for text in texts_of(item)]
        return {
            "normalized_match": float(said in wanted),
            "token_f1": max(_f1(said.split(), text.split()) for text in wanted),
        }


def _f1(said: list[str], wanted: list[str]) -> float:
    if not said or not wanted:
        return float(said == wanted)
    same = (Counter(said) & Counter(wanted)).total()
    return 2 * same / (len(said) + len(wanted))
