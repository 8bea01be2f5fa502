"""Many replies at once: each comes out when it has ended."""

import time
from itertools import count, islice

import pytest

from tests import fakes
from triptych import InputError, load
from triptych.workbench.engines.in_progress import Lane, as_they_end, in_lanes


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


@pytest.fixture
def two(tmp_path):
    """Two pipelines, and how often each was begun."""
    pipes = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        pipes.append(load(fakes.pipeline_file(tmp_path / name), plugins=[fakes.__file__]))
    return pipes


def test_pipelines_make_their_replies_beside_each_other_as_many_as_each_has_room_for(two):
    lanes, live = [Lane(3), Lane(1)], [[], []]

    def start(number):
        which = number % 2
        live[which].append(two[which].stream(f"1 {number}", max_new_tokens=3 + number))
        for lane, streams in zip(lanes, live, strict=True):
            assert sum(not stream.ended for stream in streams) <= lane.room
        return live[which][-1]

    found = list(in_lanes(range(8), start, lane=lambda number: lanes[number % 2]))
    assert sorted(ended.task for ended in found) == list(range(8))
    assert {ended.task: ended.outcome.text for ended in found} == {
        number: two[number % 2].generate(f"1 {number}", max_new_tokens=3 + number).text
        for number in range(8)
    }


def test_a_lane_that_is_full_goes_on_and_the_others_wait_until_they_are(two):
    lanes = [Lane(1), Lane(4)]
    found = in_lanes(
        [0, 10, 1, 11, 2, 12],
        lambda number: two[number // 10].stream(f"1 {number}", max_new_tokens=2),
        lane=lambda number: lanes[number // 10],
    )
    assert [ended.task for ended in found] == [0, 1, 2, 10, 11, 12]


def test_nobody_overtakes_a_reply_of_another_lane_by_more_than_is_allowed(two):
    lanes = [Lane(1), Lane(4)]
    found = in_lanes(
        [10, *range(8)],
        lambda number: two[number // 10].stream(f"1 {number}", max_new_tokens=2),
        lane=lambda number: lanes[number // 10],
        farthest=3,
    )
    assert [ended.task for ended in found] == [0, 1, 2, 10, 3, 4, 5, 6, 7]


def test_a_lane_that_cannot_be_had_ends_everything(pipe):
    def lane(number):
        raise RuntimeError("there is no such pipeline")

    with pytest.raises(RuntimeError, match="no such pipeline"):
        list(in_lanes(range(3), begin(pipe, lambda n: 3), lane=lane))


def test_how_long_a_reply_took_is_counted_from_before_it_was_begun(pipe):
    def slow(number):
        time.sleep(0.02)
        return pipe.stream("1 2", max_new_tokens=0 if number else 1)

    lane = Lane(1)
    assert all(one.seconds >= 0.02 for one in in_lanes(range(2), slow, lane=lambda _: lane))
