"""Records in the order of their lines."""

from triptych.workbench.lines.batch_request import BatchRequest
from triptych.workbench.lines.in_order import InOrder
from triptych.workbench.lines.record import Record


def record(line):
    return Record(line, b"", failed=False)


def test_records_come_out_in_the_order_in_which_their_questions_were_drawn():
    order = InOrder()
    drawn = list(order.noting(BatchRequest(line, None) for line in (2, 3, 5, 9)))
    assert [one.line for one in drawn] == [2, 3, 5, 9]
    found = order.sorted(record(line) for line in (5, 3, 2, 9))
    assert [one.line for one in found] == [2, 3, 5, 9]


def test_a_record_comes_out_as_soon_as_those_before_it_have():
    order = InOrder()
    list(order.noting(BatchRequest(line, None) for line in (1, 2, 3)))
    taken = []

    def ready():
        for line in (2, 1, 3):
            taken.append(line)
            yield record(line)

    found = order.sorted(ready())
    assert next(found).line == 1
    assert taken == [2, 1]
    assert next(found).line == 2
    assert taken == [2, 1]
    assert [one.line for one in found] == [3]
