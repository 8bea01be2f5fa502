"""A lock that threads get in the order in which they asked for it."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A lock without barging.

    With `threading.Lock`, a thread that releases it and asks again at once nearly always gets
    it before those that wait. Here each waits for those that asked before it, and for nobody
    else.
    """

    def __init__(self) -> None:
        self._state = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self) -> None:
        """Wait for one's turn. An interrupt while waiting leaves the others' turns as they were."""
        with self._state:
            if not self._taken:
                self._taken = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            turn.acquire()
        except BaseException:
            with self._state:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._pass_on()
            raise

    def try_acquire(self) -> bool:
        """Take it if nobody has it; never waits, so that a finalizer may call it."""
        if not self._state.acquire(blocking=False):
            return False
        try:
            free = not self._taken
            self._taken = True
            return free
        finally:
            self._state.release()

    def release(self) -> None:
        """End one's turn; the next one's begins."""
        with self._state:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._taken = False
