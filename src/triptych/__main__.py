"""``python -m triptych`` and ``triptych``: the process of a command."""

import gc
import os
import sys

SELDOM = 100_000
"""New objects after which garbage is looked for. Imports make very many, and none is garbage."""


def main() -> int:
    """Run the command line on this process's arguments; the exit code."""
    gc.set_threshold(SELDOM)
    # numpy's threads would turn idly for 30 ms, on cores that open graphs then and run them later.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    from triptych.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
