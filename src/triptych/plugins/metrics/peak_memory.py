"""The most memory that a process had while it answered."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from triptych.core.dataset import Item
from triptych.core.errors import InputError
from triptych.core.metric import Answer, Measures
from triptych.core.system.usage import peak_memory

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_FORGET_THE_PEAK = "5"
"""See proc(5), `clear_refs`."""

_KIB, _MIB = 2**10, 2**20


class PeakMemory:
    """`peak_memory_mib`: the most memory that the process had since the last answer, in MiB.

    All of it: weights, caches, and the interpreter, which is the same in every arm. Files that are
    mapped count as far as they are in memory. On Linux the peak is forgotten after each answer;
    elsewhere it is the largest one so far. An arm with this metric has a process of its own.
    """

    measures: Measures = "memory"
    lower_is_better = ("peak_memory_mib",)

    def __init__(self) -> None:
        _forget()

    def __call__(self, item: Item, answer: Answer) -> dict[str, float]:
        """MiB."""
        del item, answer
        found = _peak()
        _forget()
        return {"peak_memory_mib": found}


def _peak() -> float:
    """MiB, as the kernel has counted them."""
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * _KIB / _MIB
    most = peak_memory()
    if most is None:
        raise InputError("peak_memory: this system does not say how much a process has")
    return most / _MIB


def _forget() -> None:
    """Begin the count anew, where the kernel allows it."""
    with suppress(OSError):
        _CLEAR.write_text(_FORGET_THE_PEAK, encoding="ascii")
