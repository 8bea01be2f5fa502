"""Several observers of one reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from triptych.core.observer import Asked, Moment, Observer
from triptych.core.ports import Array

if TYPE_CHECKING:
    from triptych.core.reply import Reply


class Together(Observer):
    """Observers that see the same reply; the first that stands in for a stage does."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self.stands_in = any(one.stands_in for one in observers)
        named = [one.ports for one in observers]
        every = [ports for ports in named if ports is not None]
        self.ports: set[str] | None = None if None in named else set().union(*every)

    @property
    def stood_in(self) -> list[str]:
        """See `Observer`."""
        return [name for one in self._observers for name in one.stood_in]

    def begin(self, asked: Asked) -> None:
        """See `Observer`."""
        for one in self._observers:
            one.begin(asked)

    def instead(self, moment: Moment) -> Mapping[str, Array] | None:
        """See `Observer`."""
        for one in self._observers:
            given = one.instead(moment) if one.stands_in else None
            if given is not None:
                return given
        return None

    def saw(self, moment: Moment, written: Mapping[str, Array]) -> None:
        """See `Observer`."""
        for one in self._observers:
            ports = one.ports
            one.saw(
                moment,
                {name: written[name] for name in written if ports is None or name in ports},
            )

    def end(self, reply: Reply) -> None:
        """See `Observer`."""
        for one in self._observers:
            one.end(reply)
