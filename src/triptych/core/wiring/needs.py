"""What components need besides logits: a row of a graph's other ports beside each row of those."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, SupportsIndex

import numpy as np

from triptych.core.config.part import Part
from triptych.core.config_error import ConfigError
from triptych.core.messages import nearest
from triptych.core.ports import Array, Port
from triptych.core.wiring.wired import Wiring

ROW_AXES = ("R", "S")
"""A port with one of these axes has a row for each token that logits are wanted for."""

_EXPOSED = re.compile(r"(hidden|attention|early_logits|vision_attention)\.(\d+)")


class Carried(np.ndarray[Any, Any]):
    """Logits [rows, V], or one row [V], that carry what components need beside them.

    A strategy hands on the rows that it is sent, so each step of a chain finds what belongs to its
    row, whichever row that is. What is computed of a row with equal shape carries the same.
    """

    carried: tuple[Mapping[str, Array], ...]

    @classmethod
    def of(cls, logits: Array, carried: Sequence[Mapping[str, Array]]) -> Carried:
        """The same logits; carried: for each row."""
        made = logits.view(cls)
        made.carried = tuple(carried)
        return made

    @property
    def needs(self) -> Mapping[str, Array]:
        """Of a single row, the needed ports by name, without their axes B and S or R."""
        return self.carried[0] if len(self.carried) == 1 else {}

    def __array_finalize__(self, obj: Any) -> None:
        same = getattr(obj, "shape", None) == self.shape
        self.carried = getattr(obj, "carried", ()) if same else ()

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if self.ndim > 1 and isinstance(part, Carried):
            if isinstance(key, slice):
                part.carried = self.carried[key]
            elif isinstance(key, SupportsIndex) and self.carried:
                part.carried = (self.carried[key],)
        return part

    def kept(self) -> Self:
        """A copy that stays when the stages run again."""
        kept = self.copy()
        kept.carried = tuple(
            {name: value.copy() for name, value in row.items()} for row in self.carried
        )
        return kept


def carried(row: Array) -> Mapping[str, Array]:
    """What a row of logits carries, by the names of ports: that of a strategy's `needs`."""
    return row.needs if isinstance(row, Carried) else {}


def carrying(row: Array, like: Array) -> Array:
    """A row of logits that was made of others, with what one of those carries."""
    return Carried.of(row, like.carried) if isinstance(like, Carried) else row


def kept(logits: Array) -> Array:
    """A copy of logits, and of what they carry."""
    return logits.kept() if isinstance(logits, Carried) else logits.copy()


def joined(parts: Sequence[Array]) -> Array:
    """The rows of several slices, and what they carry."""
    if len(parts) == 1:
        return parts[0]
    whole = np.concatenate(parts)
    if isinstance(parts[0], Carried):
        rows = [row for part in parts for row in getattr(part, "carried", ())]
        return Carried.of(np.asarray(whole), rows)
    return whole


class Needs:
    """Takes what is needed out of the ports of a slice. ports: as their stages declare them."""

    def __init__(self, ports: Iterable[Port] = ()) -> None:
        self._ports = {port.name: port for port in ports}

    def with_ports(self, ports: Iterable[Port]) -> Needs:
        """These ports, and those besides."""
        return Needs([*self._ports.values(), *ports])

    @property
    def names(self) -> frozenset[str]:
        """Of the ports."""
        return frozenset(self._ports)

    def beside(self, logits: Array, ports: Mapping[str, Array], row: int = 0) -> Array:
        """The logits [rows, V] of row `row` of the batch, with what belongs to each of them."""
        if not self._ports:
            return logits
        taken = {
            name: _rows(port, ports[name], row, len(logits))
            for name, port in self._ports.items()
            if name in ports
        }
        return Carried.of(
            logits,
            [{name: rows[at] for name, rows in taken.items()} for at in range(len(logits))],
        )


NOTHING = Needs()


def needs_of(target: type, made: object) -> tuple[str, ...]:
    """What a component says that it needs: an attribute, or a property of the made one."""
    return tuple(getattr(made, "needs", ())) if hasattr(target, "needs") else ()


def find_needed(part: Part, names: Iterable[str], wiring: Wiring) -> list[Port]:
    """The ports of these names. Raises ConfigError at the part that needs what is not there."""
    written = {write.port.name: write.port for wired in wiring.span for write in wired.writes}
    found = []
    names = tuple(names)
    for name in names:
        port = written.get(name)
        if port is None:
            cause = f"{part.name} needs {name!r}, which no stage writes for each span"
            hint = remedy(*[one for one in names if one not in written])
            raise ConfigError(
                part.where,
                cause,
                nearest=None if hint else nearest(name, written),
                known=sorted(written),
                hint=hint,
            )
        if not set(ROW_AXES) & set(port.axes):
            cause = f"{part.name} needs {port}, which has no row for each token (no axis S or R)"
            raise ConfigError(part.where, cause)
        found.append(port)
    return found


def remedy(*names: str) -> str | None:
    """How to get a graph that writes these ports, if an export can write the first."""
    layers: dict[str, set[int]] = {}
    for match in map(_EXPOSED.fullmatch, names):
        if match is not None:
            layers.setdefault(match[1], set()).add(int(match[2]))
    if not names or _EXPOSED.fullmatch(names[0]) is None:
        return None
    wanted = ",".join(f"{kind}:{_ranges(numbers)}" for kind, numbers in layers.items())
    return f"export the checkpoint anew: triptych export CHECKPOINT OUT --expose {wanted}"


def _ranges(numbers: Iterable[int]) -> str:
    """``0-3+7`` of 0, 1, 2, 3 and 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "+".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _rows(port: Port, value: Array, row: int, count: int) -> Array:
    """The last `count` rows of a port, first axis first."""
    axes = list(port.axes)
    if "B" in axes:
        value = value.take(row, axis=axes.index("B"))
        axes.remove("B")
    axis = next(axes.index(letter) for letter in ROW_AXES if letter in axes)
    return np.moveaxis(value, axis, 0)[-count:]
