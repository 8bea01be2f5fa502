"""SQuAD's match and F1; expected values by hand."""

import pytest

from triptych import Item, Request
from triptych.plugins.metrics.normalized_match import NormalizedMatch
from triptych.testing import answer


@pytest.mark.parametrize(
    ("reference", "text", "match", "f1"),
    [
        ("a red circle", "The red circle.", 1, 1),
        ("red circle", "red  CIRCLE!", 1, 1),
        ("red circle", "a red square", 0, 1 / 2),
        ("red circle", "circle", 0, 2 / 3),
        ("the the the", "", 1, 1),
        ("red", "the", 0, 0),
        ("red red blue", "red blue blue", 0, 2 / 3),
        (["grey", "dark gray"], "gray", 0, 2 / 3),
        (["grey", "gray"], "Gray", 1, 1),
        ("it's", "its", 1, 1),
        ("theatre", "atre", 0, 0),
    ],
)
def test_words_count_but_not_how_they_are_dressed(reference, text, match, f1):
    found = NormalizedMatch()(Item("one", Request("?"), reference), answer(text))
    assert found == {"normalized_match": match, "token_f1": pytest.approx(f1)}
