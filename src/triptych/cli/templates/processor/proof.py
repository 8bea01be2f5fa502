"""What every processor promises, and what this one does."""

from triptych import Request
from triptych.testing import Subject, parametrize_with_checks

from __PACKAGE__.__NAME__ import __CLASS__


@parametrize_with_checks([Subject("processor", __CLASS__)])
def test_it_keeps_a_processors_promises(subject, check):
    check(subject)


def test_tokens_are_bytes():
    processor = __CLASS__(__CLASS__.Settings())
    assert processor.prompt(Request("Hi")).tokens.tolist() == [72, 105]
    assert processor.decode([72, 105, 256]) == "Hi"
