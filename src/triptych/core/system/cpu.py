"""What the system says of the processor."""

from __future__ import annotations

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def cpu_name() -> str:
    """The model, as the system calls it; the architecture where it does not tell."""
    return _line("model name") or platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """The instructions that it knows, as Linux spells them; empty where it does not tell."""
    return _line("flags", "Features").split()


def _line(*names: str) -> str:
    """What the first line of one of these names says."""
    try:
        with CPU_INFO.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(names):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""
