"""How much memory of its own a process has, as the system counts it."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# How often it is looked at; converting a large table takes longer.
INTERVAL = 0.005


@dataclass(frozen=True)
class Watched:
    """A command that ended.

    output: stdout and stderr. seconds: by the clock; cpu: seconds of all its threads. peak: bytes
    of anonymous memory.
    """

    output: str
    exit_code: int
    seconds: float
    cpu: float
    peak: int


def anonymous_bytes(process: int | str = "self") -> int:
    """What it has without the files that it maps; 0 if it is no more. Linux alone tells."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(found[0]) * 1024 if found else 0


def watched(command: Sequence[str]) -> Watched:
    """Runs a command to its end and looks at its memory all the while."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - start
        output = process.stdout.read() if process.stdout else ""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Watched(output, process.returncode, seconds, cpu, peak)
