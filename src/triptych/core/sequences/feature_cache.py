"""What stages made of media, kept by content, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from triptych.core.ports import Array

DEFAULT_BYTES = 256 * 2**20


class FeatureCache:
    """Results of stages that read only media, by stage label and media digest.

    A digest covers what a medium holds and all that decides how it is prepared. The model is the
    pipeline's, which has a cache of its own, and in which a label is one stage. The least recently
    used go first when the arrays together exceed `max_bytes`.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._results: OrderedDict[tuple[str, str], Mapping[str, Array]] = OrderedDict()

    def get(self, label: str, digest: str) -> Mapping[str, Array] | None:
        """The ports that stage `label` wrote for the item, if they are still here."""
        found = self._results.get((label, digest))
        if found is not None:
            self._results.move_to_end((label, digest))
        return found

    def put(self, label: str, digest: str, ports: Mapping[str, Array]) -> None:
        """Keep what stage `label` wrote for the item."""
        self._drop((label, digest))
        self._results[label, digest] = ports
        self.bytes += _size(ports)
        while self.bytes > self.max_bytes and self._results:
            self._drop(next(iter(self._results)))

    def _drop(self, key: tuple[str, str]) -> None:
        ports = self._results.pop(key, None)
        if ports is not None:
            self.bytes -= _size(ports)


def _size(ports: Mapping[str, Array]) -> int:
    return sum(value.nbytes for value in ports.values())
