"""One token per forward pass."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import ClassVar

from triptych.core.spans import Generation, Logits, Span


class Autoregressive:
    """Forward what is pending, choose a token, append it, and so on until the end."""

    speculates = False
    neutral: ClassVar[Mapping[str, object]] = {}

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The strategy of one generation."""
        sequence, choose, emit = generation.sequence, generation.chain.choose, generation.emit
        pending = [Span(sequence)]
        while True:
            [rows] = yield pending
            token = choose(rows[-1])
            sequence.append([token])
            if emit(token):
                return
