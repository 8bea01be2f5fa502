"""What sacrebleu counts: n-grams of letters and of words that an answer shares with references."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.dataset import Item
from triptych.core.errors import InputError
from triptych.core.metric import Answer
from triptych.plugins.metrics.references import texts_of


class MissingSacrebleu(InputError):
    """sacrebleu is not installed."""


class ChrF:
    """`chrf`: the F-score of shared n-grams of letters (Popović 2015), between 0 and 100.

    Of one answer at a time, by sacrebleu's `sentence_chrf`. The mean over items is not the chrF
    of a corpus, which adds n-grams up before it divides.
    """

    class Settings(core.Settings):
        """letters: the longest n-gram of letters. words: the same of words; 2 is chrF++.

        beta: how many times more recall weighs than precision. lowercase: capitals do not count.
        """

        letters: int = Field(default=6, ge=1, le=32)
        words: int = Field(default=0, ge=0, le=8)
        beta: int = Field(default=2, ge=1)
        lowercase: bool = False

    def __init__(self, settings: Settings) -> None:
        self._metric = _sacrebleu("chrf").CHRF(
            char_order=settings.letters,
            word_order=settings.words,
            beta=settings.beta,
            lowercase=settings.lowercase,
        )

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Between 0 and 100."""
        score = self._metric.sentence_score(answer.reply.text, list(texts_of(item)))
        return {"chrf": float(score.score)}


class BLEU:
    """`bleu` of one answer (Papineni et al. 2002; Chen and Cherry 2014), between 0 and 100.

    By sacrebleu's `sentence_bleu`: orders that an answer is too short for are left out, and
    counts of zero are smoothed. The mean over items is not the BLEU of a corpus, which adds
    n-grams up before it divides: for that give the answers of the results to sacrebleu.
    """

    class Settings(core.Settings):
        """tokenize: how words are told apart, as sacrebleu names it. order: the longest n-gram.

        lowercase: capitals do not count.
        """

        tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
        lowercase: bool = False
        order: int = Field(default=4, ge=1, le=8)

    def __init__(self, settings: Settings) -> None:
        self._metric = _sacrebleu("bleu").BLEU(
            tokenize=settings.tokenize,
            lowercase=settings.lowercase,
            max_ngram_order=settings.order,
            effective_order=True,
        )

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """Between 0 and 100."""
        score = self._metric.sentence_score(answer.reply.text, list(texts_of(item)))
        return {"bleu": float(score.score)}


def _sacrebleu(name: str) -> Any:
    """The metrics of sacrebleu."""
    try:
        import sacrebleu.metrics
    except ImportError as error:
        raise MissingSacrebleu(
            f'{name} needs the package sacrebleu: pip install "triptych[workbench]"'
        ) from error
    return sacrebleu.metrics
