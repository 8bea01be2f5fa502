"""Threads get the lock in the order in which they asked for it."""

import threading
import time

import pytest

from triptych.core.turns import Turns

SECONDS = 30


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def waiting(turns, count):
    """Wait until `count` threads wait for their turn."""
    end = time.monotonic() + SECONDS
    while len(turns._waiting) < count:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_turns_come_in_the_order_of_asking():
    turns, order, threads = Turns(), [], []
    turns.acquire()
    for number in range(6):

        def work(number=number):
            turns.acquire()
            order.append(number)
            turns.release()

        threads.append(in_thread(work))
        waiting(turns, number + 1)
    turns.release()
    for thread in threads:
        thread.join(SECONDS)
    assert order == list(range(6))
    assert turns.try_acquire()


def test_one_that_asks_again_at_once_waits_for_those_that_wait():
    turns, order = Turns(), []
    turns.acquire()

    def work():
        turns.acquire()
        order.append("other")
        turns.release()

    thread = in_thread(work)
    waiting(turns, 1)
    turns.release()
    turns.acquire()
    order.append("again")
    turns.release()
    thread.join(SECONDS)
    assert order == ["other", "again"]


def test_only_one_has_it():
    turns, inside, most = Turns(), [], []

    def work():
        for _ in range(200):
            turns.acquire()
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            turns.release()

    threads = [in_thread(work) for _ in range(6)]
    for thread in threads:
        thread.join(SECONDS)
    assert len(most) == 1200
    assert max(most) == 1


def test_trying_never_waits():
    turns = Turns()
    assert turns.try_acquire()
    assert not turns.try_acquire()
    turns.release()
    assert turns.try_acquire()
    turns.release()
    with turns._state:
        assert not turns.try_acquire(), "in the midst of another call"


class Interrupted:
    """A turn that is interrupted while it is waited for."""

    def __init__(self, before):
        self.lock = threading.Lock()
        self.before = before
        self.calls = 0

    def acquire(self):
        self.calls += 1
        if self.calls == 1:
            return self.lock.acquire()
        self.before()
        raise KeyboardInterrupt

    def release(self):
        self.lock.release()


@pytest.mark.parametrize("handed", [False, True], ids=["while it waits", "when it is handed over"])
def test_an_interrupted_wait_leaves_the_others_turns_as_they_were(monkeypatch, handed):
    turns = Turns()
    turns.acquire()
    made = Interrupted(turns.release if handed else lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr("triptych.core.turns.threading.Lock", lambda: made)
        with pytest.raises(KeyboardInterrupt):
            turns.acquire()
    if not handed:
        turns.release()
    assert turns.try_acquire()
