"""Datasets with a limit."""

import pytest

import triptych
from triptych.testing import check_dataset


class Sums(triptych.LimitedDataset):
    """Sums without end."""

    class Settings(triptych.LimitedDataset.Settings):
        """start: the first number."""

        start: int = 0

    def __init__(self, settings):
        super().__init__(settings)
        self.made = 0

    def items(self):
        number = self.settings.start
        while True:
            self.made += 1
            yield triptych.Item(str(number), triptych.Request(f"{number} + 1?"), str(number + 1))
            number += 1


def test_it_has_as_many_items_as_are_wanted_and_makes_no_more():
    sums = Sums(Sums.Settings(start=7, limit=3))
    assert [item.id for item in sums] == ["7", "8", "9"]
    assert sums.made == 3


def test_it_begins_from_the_first_item_each_time():
    sums = Sums(Sums.Settings(limit=2))
    assert list(sums) == list(sums)
    check_dataset(Sums, limit=4)


def test_without_a_limit_all_items_are_there():
    iterator = iter(Sums(Sums.Settings()))
    assert [next(iterator).id for _ in range(50)][-1] == "49"


@pytest.mark.parametrize("limit", [0, -1, 2.5, "3"])
def test_a_limit_is_a_whole_number_above_zero(limit):
    with pytest.raises(ValueError, match="limit"):
        Sums.Settings(limit=limit)
