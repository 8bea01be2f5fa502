"""Which input and output of each stage lives on which device, and what is copied when."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from triptych.core.dataclass import dataclass
from triptych.core.graphs.device import DEVICE_DTYPES
from triptych.core.wiring.wired import CORE_READS, Wired, Wiring

Role = Literal["input", "output", "past"]

NEVER = ""
TO_DEVICE = "to the device, each run"
REWRITTEN = "to the device, when a stage on the CPU has rewritten it"
TO_HOST = "to the CPU, each run"
SPAN_REDUCTIONS = frozenset({"keep_tokens"})
"""Where a stage writes one, the core cuts every port of tokens; it does that on the CPU."""

ON_READ = "to the CPU, when a stage there reads it"


@dataclass(frozen=True)
class Placement:
    """One port of one stage. device: where the stage has it. copied: what moves, and when."""

    stage: str
    port: str
    role: Role
    device: str
    copied: str = NEVER


def placements(wiring: Wiring, needed: Collection[str] = ()) -> tuple[Placement, ...]:
    """Every port of every stage, in the order they run.

    needed: ports that the core reads for samplers and strategies. Graphs on one device hand each
    other what they write there; pasts stay there for good. What a sequence keeps is the CPU's.
    """
    found: list[Placement] = []
    held: dict[str, str] = {}
    rewritten: set[str] = set()
    for wired in wiring.stages:
        device = device_of(wired)
        pasts = {pair.past.name for pair in wired.stage.cache_pairs}
        kept = kept_on_device(wired, wiring, needed)
        for read in wired.reads:
            there = held.get(read.port.name, "cpu")
            if read.name in pasts:
                found.append(Placement(wired.label, read.name, "past", device))
            elif device == "cpu":
                found.append(Placement(wired.label, read.port.name, "input", "cpu"))
            else:
                copied = TO_DEVICE
                if there == device:
                    copied = REWRITTEN if read.port.name in rewritten else NEVER
                found.append(Placement(wired.label, read.port.name, "input", device, copied))
        for write in wired.writes:
            name = write.port.name
            if name in {read.port.name for read in wired.reads}:
                # Such a stage is skipped where it has no visual rows: what it reads then stands.
                rewritten.add(name)
            else:
                held[name] = device if write.name in kept else "cpu"
            copied = NEVER
            if write.name in kept:
                copied = ON_READ if _read_by(wired, wiring, name, on="cpu") else NEVER
            elif device != "cpu":
                copied = TO_HOST
            found.append(Placement(wired.label, name, "output", device, copied))
    return tuple(found)


def kept_on_device(wired: Wired, wiring: Wiring, needed: Collection[str] = ()) -> frozenset[str]:
    """The outputs of a stage, by its own names, that stay on its device until its next run.

    Those that a later graph on that device reads as they are, and that the core does not read.
    """
    device = device_of(wired)
    if device == "cpu" or wired not in wiring.span or not hasattr(wired.stage, "keep_on_device"):
        return frozenset()
    if any(write.port.name in SPAN_REDUCTIONS for one in wiring.span for write in one.writes):
        return frozenset()
    taken = CORE_READS.keys() | set(needed)
    return frozenset(
        write.name
        for write in wired.writes
        if write.cast is None
        and write.port.dtype in DEVICE_DTYPES
        and write.port.name not in taken
        and _read_by(wired, wiring, write.port.name, on=device)
    )


def device_of(wired: Wired) -> str:
    """The name of the device that a loaded stage runs on."""
    return str(getattr(wired.stage, "device", "cpu"))


def _read_by(writer: Wired, wiring: Wiring, port: str, *, on: str) -> bool:
    """Whether a later SPAN stage on a device reads what `writer` wrote, as it is.

    A stage that rewrites it may be skipped, so those after that one count, too.
    """
    later = wiring.span[wiring.span.index(writer) + 1 :]
    return any(
        read.port.name == port and (on == "cpu" or (read.cast is None and read.batch_axis is None))
        for wired in later
        if device_of(wired) == on
        for read in wired.reads
    )
