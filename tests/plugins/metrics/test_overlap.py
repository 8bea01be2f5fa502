"""chrF and BLEU; small ones by hand, the rest as sacrebleu's own functions say."""

import sys

import pytest
import sacrebleu

from triptych import InputError, Item, Request
from triptych.plugins.metrics.overlap import BLEU, ChrF
from triptych.testing import answer

PAIRS = [
    ("A red circle at the top on a white background.", "A red circle on a white background."),
    ("the cat", "the cat"),
    (["the cat sat", "a cat was sitting"], "a cat sat"),
    ("one", ""),
    ("Zwölf Boxkämpfer", "zwolf Boxer"),
]


def score(kind, reference, text, **settings):
    (found,) = kind(kind.Settings(**settings))(
        Item("one", Request("?"), reference), answer(text)
    ).values()
    return found


@pytest.mark.parametrize(("reference", "text"), PAIRS)
def test_they_are_sacrebleus_sentence_scores(reference, text):
    references = [reference] if isinstance(reference, str) else reference
    chrf = sacrebleu.sentence_chrf(text, references)
    plus = sacrebleu.sentence_chrf(text, references, word_order=2)
    bleu = sacrebleu.sentence_bleu(text, references)
    assert score(ChrF, reference, text) == chrf.score
    assert score(ChrF, reference, text, words=2) == plus.score
    assert score(BLEU, reference, text) == bleu.score


def test_chrf_by_hand():
    # Letters: 2 of 3 each way; pairs: 1 of 2; F2 of equal precision and recall is the same.
    assert score(ChrF, "abc", "abd", letters=2) == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)


def test_bleu_by_hand():
    # Words 3 of 4 and pairs 2 of 3, and no brevity penalty.
    found = score(BLEU, "a b c d", "a b c e", order=2, tokenize="none")
    assert found == pytest.approx(100 * (3 / 4 * 2 / 3) ** 0.5)


def test_without_sacrebleu_it_is_said_what_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(InputError, match=r'chrf needs .* pip install "triptych\[workbench\]"'):
        ChrF(ChrF.Settings())
