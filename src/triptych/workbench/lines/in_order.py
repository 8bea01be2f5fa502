"""Records in the order of their lines, whoever was ready first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from triptych.workbench.lines.batch_request import BatchRequest
from triptych.workbench.lines.record import Record


class InOrder:
    """Keeps what is ready too early, as many as an engine lets overtake."""

    def __init__(self) -> None:
        self._expected: deque[int] = deque()
        self._early: dict[int, Record] = {}

    def noting(self, requests: Iterable[BatchRequest]) -> Iterator[BatchRequest]:
        """The same requests; their order is that of the records."""
        for asked in requests:
            self._expected.append(asked.line)
            yield asked

    def sorted(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records in the order in which the requests were drawn."""
        for record in records:
            self._early[record.line] = record
            while self._expected and self._expected[0] in self._early:
                yield self._early.pop(self._expected.popleft())
