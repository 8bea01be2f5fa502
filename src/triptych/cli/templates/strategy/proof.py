"""What every strategy promises, and what this one does."""

import triptych
from triptych.testing import Subject, parametrize_with_checks

from __PACKAGE__.__NAME__ import __CLASS__


@parametrize_with_checks([Subject("strategy", __CLASS__)])
def test_it_keeps_a_strategys_promises(subject, check):
    check(subject)


def test_the_built_in_model_answers_with_it():
    pipe = triptych.load(overrides={"strategy": "__OWNER__/__NAME__"})
    assert pipe.generate("What is the capital of France?").text == "Paris"
