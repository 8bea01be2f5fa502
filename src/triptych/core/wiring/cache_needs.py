"""What cache policies need: ports of a forward, of which each slot is shown its own row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triptych.core.cache import Cache, CachePolicy, Watches
from triptych.core.config.part import Part
from triptych.core.config_error import ConfigError
from triptych.core.graphs.device import DeviceArray
from triptych.core.messages import nearest
from triptych.core.ports import Array, CachePair, Port
from triptych.core.wiring.needs import remedy
from triptych.core.wiring.wired import INPUT_PORTS, TABLE_PORTS, Wired, Wiring

Seen = Mapping[str, Array]
"""By port, without the axis B; valid until the stage runs again."""


class Shown:
    """Takes what caches are shown out of the ports of a forward.

    ports: by the label of the stage that keeps the cache, as they are written; most have none.
    """

    def __init__(self, ports: Mapping[str, Sequence[Port]] | None = None) -> None:
        self._ports = {label: tuple(needed) for label, needed in (ports or {}).items() if needed}

    def __contains__(self, label: str) -> bool:
        return label in self._ports

    @property
    def names(self) -> frozenset[str]:
        """Of all these ports."""
        return frozenset(port.name for needed in self._ports.values() for port in needed)

    def of(self, label: str, ports: Mapping[str, Array], row: int = 0) -> Seen:
        """What the cache of a stage is shown of row `row` of the batch."""
        return {
            port.name: _row(port, ports[port.name], row)
            for port in self._ports[label]
            if port.name in ports
        }


def settle(cache: Cache[Any], slots: Sequence[Any], seen: Sequence[Seen]) -> None:
    """End a forward. seen: for each slot; nothing where the cache is shown nothing."""
    if seen and isinstance(cache, Watches):
        cache.observe(slots, seen)
    cache.settle(slots)


def names_needed(policy: CachePolicy, pairs: Sequence[CachePair]) -> tuple[str, ...]:
    """The ports that a policy needs of a stage with these pairs: a tuple, or a method."""
    needs: Any = getattr(policy, "needs", ())
    found = needs(pairs) if callable(needs) else needs
    return (found,) if isinstance(found, str) else tuple(found)


def find_shown(
    part: Part, policy: CachePolicy, name: str, wired: Wired, wiring: Wiring
) -> tuple[Port, ...]:
    """The ports that the policy of this name needs of the stage that `part` stands for.

    Raises ConfigError at its `cache` where nobody has written one of them by then.
    """
    there = {port.name: port for port in (*INPUT_PORTS, *TABLE_PORTS, *wiring.kept.values())}
    there = {known: port for known, port in there.items() if "S" in port.axes}
    for one in wiring.span:
        there |= {write.port.name: write.port for write in one.writes}
        if one is wired:
            break
    try:
        needed = names_needed(policy, wired.stage.cache_pairs)
    except Exception as error:
        cause = f"the needs of {name} cannot be told: {type(error).__name__}: {error}"
        raise ConfigError(part.place("cache"), cause, exit_code=1) from error
    missing = [port for port in needed if port not in there]
    if missing:
        hint = remedy(*missing)
        raise ConfigError(
            part.place("cache"),
            f"{name} needs {missing[0]!r}, which neither {part.label} nor a stage before it writes",
            nearest=None if hint else nearest(missing[0], there),
            known=sorted(there),
            hint=hint,
        )
    return tuple(there[port] for port in needed)


def _row(port: Port, value: Any, row: int) -> Array:
    value = value.numpy() if isinstance(value, DeviceArray) else value
    if "B" not in port.axes:
        one: Array = value
    else:
        one = value[(*(slice(None),) * port.axes.index("B"), row)]
    return one
