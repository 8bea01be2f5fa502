"""Many replies at once: each comes out when it has ended."""

from itertools import count, islice

import pytest

from tests import fakes
from triptych import InputError, load
from triptych.workbench.engines.in_progress import as_they_end


@pytest.fixture
def pipe(tmp_path):
    return load(fakes.pipeline_file(tmp_path), plugins=[fakes.__file__])


def begin(pipe, tokens):
    """Starts the reply to a number; tokens: how long each is."""
    return lambda number: pipe.stream(f"1 2 {number}", max_new_tokens=tokens(number))


def test_every_task_has_the_reply_that_it_has_alone(pipe):
    start = begin(pipe, lambda number: 1 + number % 5)
    replies = dict(as_they_end(range(20), start, room=4))
    assert {number: reply.tokens for number, reply in replies.items()} == {
        number: start(number).reply.tokens for number in range(20)
    }


def test_a_long_reply_holds_nobody_back(pipe):
    found = as_they_end(range(12), begin(pipe, lambda n: 2 if n else 100), room=2)
    assert [number for number, _ in found] == [*range(1, 12), 0]


def test_nobody_overtakes_a_long_reply_by_more_than_is_allowed(pipe):
    drawn = []

    def tasks():
        for number in range(30):
            drawn.append(number)
            yield number

    found = as_they_end(tasks(), begin(pipe, lambda n: 1 if n else 50), room=2, farthest=5)
    ahead = []
    for number, _ in found:
        ahead.append(number)
        if number == 0:
            break
        assert len(drawn) <= 6
    assert ahead == [1, 2, 3, 4, 5, 0]


def test_tasks_are_drawn_where_there_is_room(pipe):
    drawn = []

    def endless():
        for number in count():
            drawn.append(number)
            yield number

    found = as_they_end(endless(), begin(pipe, lambda n: 3), room=3)
    assert drawn == []
    assert len(list(islice(found, 7))) == 7
    assert len(drawn) <= 7 + 3
    found.close()


def test_no_more_than_there_is_room_for_are_in_progress(pipe):
    live = []

    def watched(number):
        live.append(begin(pipe, lambda n: 1 + n % 4)(number))
        assert sum(not stream.ended for stream in live) <= 3
        return live[-1]

    assert len(list(as_they_end(range(15), watched, room=3))) == 15


def test_a_request_that_is_refused_has_the_error_as_its_result(pipe):
    def start(number):
        return pipe.stream("1 2", max_new_tokens=0 if number == 2 else 3)

    found = dict(as_they_end(range(5), start, room=2))
    assert isinstance(found[2], InputError)
    assert "max_new_tokens is 0" in str(found[2])
    assert sorted(number for number in found if number != 2) == [0, 1, 3, 4]


def test_a_reply_that_fails_while_it_is_made_fails_alone(pipe):
    def start(number):
        return pipe.stream("1 2", images=[(4, 4, -1 if number == 1 else number)])

    found = dict(as_they_end(range(4), start, room=4))
    assert str(found[1]) == "the image is truncated"
    assert all(found[number].tokens for number in (0, 2, 3))


def test_leaving_early_ends_what_is_in_progress(pipe):
    slots = fakes.watch_slots(pipe)
    found = as_they_end(count(), begin(pipe, lambda n: 2 if n else 100), room=4)
    next(found)
    found.close()
    leased = {slot for cache in pipe._executor.caches.values() for slot in cache.leased}
    assert slots
    assert not leased


def test_an_error_of_the_tasks_themselves_ends_everything(pipe):
    def tasks():
        yield 1
        raise RuntimeError("the file is gone")

    with pytest.raises(RuntimeError, match="the file is gone"):
        list(as_they_end(tasks(), begin(pipe, lambda n: 3), room=4))


def test_several_pipelines_take_turns(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    pipes = []
    for folder in (one, other):
        folder.mkdir()
        pipes.append(load(fakes.pipeline_file(folder), plugins=[fakes.__file__]))

    def start(number):
        return pipes[number % 2].stream(f"{number}", max_new_tokens=5)

    found = [number for number, _ in as_they_end(range(8), start, room=4)]
    assert sorted(found[:4]) == [0, 1, 2, 3]
    assert sorted(found) == list(range(8))
