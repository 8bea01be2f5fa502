"""``python -m triptych`` and ``triptych``: the process of a command."""

import gc
import os
import sys

SELDOM = 100_000
"""New objects after which garbage is looked for. Imports make very many, and none is garbage."""

ASLEEP = ("OPENBLAS_THREAD_TIMEOUT", "4")
"""Idle threads of numpy turn for 2^4 ticks, the fewest that OpenBLAS takes, and then sleep. As
it comes they turn for 30 ms, on cores that open graphs then and run them later."""

INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended: 128 and the signal's number."""


def main() -> int:
    """Run the command line on this process's arguments; the exit code."""
    gc.set_threshold(SELDOM)
    os.environ.setdefault(*ASLEEP)
    try:
        from triptych.cli.main import main as run

        return run()
    except KeyboardInterrupt:  # Before the command line could take it, or after it.
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
