"""Ctrl-C: the first press asks for a clean end, a later one ends the process at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from triptych.cli.reporting import INTERRUPTED
from triptych.cli.terminal import PATIENCE, SHOW_CURSOR, remark

STOP = b"\0"
"""No signal has the number 0."""


class Interruptible:
    """Inside the block, Ctrl-C calls `cancel` instead of raising KeyboardInterrupt.

    A thread hears of the signal, because the main one may be inside a forward pass for many
    seconds, where Python runs no handlers. cancel: what ends the work soon; None while there
    is nothing worth keeping, and then the first press ends the process. presses: how many
    of them end it at once. Outside of the main thread the block changes nothing.
    """

    def __init__(self, cancel: Callable[[], None] | None = None, *, presses: int = 2) -> None:
        self.cancel = cancel
        self.pressed = 0
        self._presses = presses
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._old_handler = signal.signal(signal.SIGINT, lambda *_: None)
        self._old_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is None:
            return
        signal.set_wakeup_fd(self._old_fd)
        signal.signal(signal.SIGINT, self._old_handler)
        self._sender.send(STOP)
        self._thread.join()
        self._thread = None
        self._receiver.close()
        self._sender.close()

    def _listen(self) -> None:
        while (heard := self._heard()) != STOP:
            if heard[0] != signal.SIGINT:
                continue
            self.pressed += 1
            if self.cancel is None or self.pressed >= self._presses:
                if sys.stderr.isatty():
                    os.write(sys.stderr.fileno(), f"{SHOW_CURSOR}\n".encode())
                os._exit(INTERRUPTED)
            self.cancel()
            self._receiver.settimeout(PATIENCE)

    def _heard(self) -> bytes:
        """The next signal's number. Says that the first press was heard, if the end takes long."""
        try:
            return self._receiver.recv(1) or STOP
        except TimeoutError:
            self._receiver.settimeout(None)
            if sys.stderr.isatty():
                remark(f"\nstopping after this step; {self._more()} at once")
            return self._receiver.recv(1) or STOP

    def _more(self) -> str:
        left = self._presses - self.pressed
        return "Ctrl-C again ends" if left == 1 else f"{left} more Ctrl-C end"
