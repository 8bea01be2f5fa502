"""Which of an answer's sequences is which."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from triptych.core.sequences.sequence import Sequence


class Numbering:
    """Numbers sequences from 0, in the order in which they are first asked about.

    It keeps none of them: a search of beams makes thousands, each with a table of its own.
    """

    def __init__(self) -> None:
        self._numbers: WeakKeyDictionary[Sequence, int] = WeakKeyDictionary()
        self._count = 0

    def of(self, sequence: Sequence) -> int:
        """The number of a sequence."""
        number = self._numbers.get(sequence)
        if number is None:
            number = self._numbers[sequence] = self._count
            self._count += 1
        return number
