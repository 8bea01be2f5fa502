"""The threads that graphs run on."""

from __future__ import annotations

import os
import threading

from triptych.core.graphs.errors import SessionError

THREADS = "TRIPTYCH_THREADS"
"""The environment variable that says what `threads: auto` means, where processes share cores."""


def cpu_threads() -> int:
    """How many threads `threads: auto` means: the cores this process may use, at most 16.

    The environment variable `THREADS` says another number.
    """
    given = os.environ.get(THREADS, "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(available or 1, 16))


class ThreadPool:
    """One pool of threads for all sessions of the process.

    Each session's own pool spins after a run and takes the cores from the next one: three
    sessions called in turn on two cores take 1.6 to 3 times as long. ONNX Runtime makes its
    global pool once a process, never resizes it, and refuses sessions with pools of their own
    from then on. Where somebody else has made one, ours run on theirs, whatever its size.
    """

    size: int | None = None
    """Its threads; None before the first session, 0 for somebody else's pool."""
    lock = threading.Lock()

    @classmethod
    def join(cls, threads: int | None) -> None:
        """Use the pool, and make it if there is none yet; None: as many threads as it has.

        Raises SessionError when it has another number of threads than was asked for.
        """
        import onnxruntime

        with cls.lock:
            if cls.size is None:
                wanted = threads or cpu_threads()
                try:
                    onnxruntime.set_global_thread_pool_sizes(wanted, 1)
                    cls.size = wanted
                except Exception:  # noqa: BLE001 - no class of its own says that there is a pool
                    cls.size = 0
        if threads and cls.size and threads != cls.size:
            raise SessionError(
                f"session.threads: {threads} threads are wanted, but the pipelines of this process "
                f"share a pool of {cls.size}; give all of them the same number, or 'auto'"
            )
