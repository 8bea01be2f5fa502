"""The memory that this process takes."""

from __future__ import annotations

import sys

_KIB = 1024


def peak_memory() -> int | None:
    """The most bytes it ever had at once; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * _KIB
