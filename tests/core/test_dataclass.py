"""Values of the quickly made classes behave as those of the standard library's do."""

import copy
import dataclasses
import pickle

import pytest

from triptych.core import dataclass as quick


def _pair(make):
    """The same class with frozen fields, and one with others, by one of the two decorators."""

    @make(frozen=True)
    class Size:
        """A size in a unit; how it was measured does not count."""

        number: float
        unit: str = "m"
        parts: tuple[str, ...] = dataclasses.field(default=(), repr=False)
        how: list[int] = dataclasses.field(default_factory=list, compare=False)
        marks: list[int] = dataclasses.field(default_factory=list, hash=False, repr=False)

    @make
    class Tally:
        """What is counted."""

        count: int = 0

    return Size, Tally


@pytest.fixture(params=["quick", "standard"])
def classes(request):
    return _pair(quick.dataclass if request.param == "quick" else dataclasses.dataclass)


def test_values_are_equal_and_hash_alike_by_the_fields_that_are_compared(classes):
    size, tally = classes
    assert size(1.0, how=[1]) == size(1.0, how=[2])
    assert hash(size(1.0, how=[1])) == hash(size(1.0, how=[2]))
    assert size(1.0) != size(1.0, parts=("a",))
    assert size(1.0) != size(1.0, marks=[1])
    assert hash(size(1.0)) == hash(size(1.0, marks=[1]))
    assert size(1.0) != (1.0, "m", (), [])
    assert tally(3) == tally(3) != tally(4)
    with pytest.raises(TypeError, match="unhashable"):
        hash(tally())


def test_a_value_is_shown_by_its_fields(classes):
    size, _ = classes
    assert repr(size(1.0)).endswith("Size(number=1.0, unit='m', how=[])")


def test_fields_of_a_frozen_value_are_given_once(classes):
    size, tally = classes
    one = size(1.0)
    for name in ("number", "unit", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(one, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError, match="number"):
        del one.number
    other = tally()
    other.count += 1
    assert other.count == 1


def test_values_are_copied_replaced_and_taken_apart(classes):
    size, _ = classes
    one = size(1.0, how=[1])
    assert copy.deepcopy(one) == one
    assert dataclasses.replace(one, unit="s") == size(1.0, "s")
    taken = {"number": 1.0, "unit": "m", "parts": (), "how": [1], "marks": []}
    assert dataclasses.asdict(one) == taken
    with pytest.raises(TypeError, match="number"):
        size()


def test_without_equality_a_value_is_itself_alone():
    @quick.dataclass(frozen=True, eq=False)
    class Thing:
        """A thing."""

        name: str

    one = Thing("a")
    assert one == one  # noqa: PLR0124 - what is tested
    assert one != Thing("a")
    assert len({one, Thing("a")}) == 2


def test_a_method_that_a_class_has_stays():
    @quick.dataclass(frozen=True)
    class Secret:
        """Something that is not shown."""

        text: str

        def __repr__(self) -> str:
            return "Secret(...)"

    assert repr(Secret("a")) == "Secret(...)"


def test_values_go_to_other_processes():
    from triptych.core.config_error import Where

    where = Where("file.yaml", 2, 3)
    assert pickle.loads(pickle.dumps(where)) == where
