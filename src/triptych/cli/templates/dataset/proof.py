"""What every dataset promises, and what this one does."""

from triptych.testing import Subject, parametrize_with_checks

from __PACKAGE__.__NAME__ import __CLASS__


@parametrize_with_checks([Subject("dataset", __CLASS__, {"count": 20})])
def test_it_keeps_a_datasets_promises(subject, check):
    check(subject)


def test_the_reference_is_the_sum():
    for item in __CLASS__(__CLASS__.Settings(count=20)):
        one, other = (int(word) for word in item.request.text.rstrip("?").split() if word.isdigit())
        assert item.reference == str(one + other)
