"""How much memory this process holds."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
KIB = 1024


def resident() -> dict[str, int]:
    """Bytes: `resident` now and `peak` so far, file-backed pages included.

    Where the system has no /proc, both are the peak that `getrusage` tells; none on Windows.
    """
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return {
            name: int(fields[field].split()[0]) * KIB
            for name, field in (("resident", "VmRSS"), ("peak", "VmHWM"))
        }
    except (OSError, KeyError):
        pass
    if sys.platform == "win32":
        return {}
    import resource

    # macOS counts bytes, and everybody else KiB.
    unit = 1 if sys.platform == "darwin" else KIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"resident": peak, "peak": peak}
