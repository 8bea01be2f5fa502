"""What every metric promises, and what this one does."""

import pytest
from triptych import Item, Request
from triptych.testing import Subject, answer, parametrize_with_checks

from __PACKAGE__.__NAME__ import __CLASS__


@parametrize_with_checks([Subject("metric", __CLASS__)])
def test_it_keeps_a_metrics_promises(subject, check):
    check(subject)


@pytest.mark.parametrize(("text", "score"), [("There are 3.", 1.0), ("There are 30.", 0.0)])
def test_the_reference_is_looked_for_as_a_word(text, score):
    item = Item("one", Request("How many?"), "3")
    assert __CLASS__()(item, answer(text)) == {"contained": score}
