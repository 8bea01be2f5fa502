"""The interfaces of decoding: spans, logits, a strategy, and a generation as it sees one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from triptych.core.prompt import Prompt
    from triptych.core.request import Request
    from triptych.core.sampling.chain import Chain
    from triptych.core.sequences.sequence import Sequence

Logits = npt.NDArray[np.float32]
"""float32 [rows, V]: the logits of a span's last tokens."""


@dataclass(frozen=True)
class Span:
    """Forward what is pending in `sequence`; give the logits of its last `rows` tokens."""

    sequence: Sequence
    rows: int = 1


class Generation(Protocol):
    """One request in progress, as a strategy sees it."""

    sequence: Sequence
    chain: Chain

    @property
    def prompt(self) -> Prompt:
        """What it began with."""
        ...

    @property
    def request(self) -> Request | None:
        """What the prompt was made of; None where nobody said."""
        ...

    @property
    def company(self) -> int:
        """How many generations are in progress, this one included.

        Their single tokens are forwarded together; a span of several rows is forwarded alone.
        """
        ...

    @property
    def eos_ids(self) -> Collection[int]:
        """Tokens that end it."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """How many tokens it may emit in all."""
        ...

    def emit(self, token: int) -> bool:
        """Give a committed token to the reader; True when the generation has ended."""
        ...

    def branch(self, name: str, edit: Callable[[Prompt], Prompt]) -> Sequence:
        """A second sequence from an edited prompt, under `name`."""
        ...


class Strategy(Protocol):
    """Yields spans, receives the logits of each, emits tokens; returns when `emit` says so.

    It is made once for a pipeline; what belongs to one generation lives in `run`. It may have an
    attribute `speculates`: that it forwards tokens which it may take back, so that it is refused
    over a cache that is not `exact`. And it may have a method `load(processor)`, called once before
    it runs, for weights of its own; what that raises is an error of the pipeline's file. A method
    `check_chain(steps)` is called with the steps of a request's chain before it begins, and by
    `triptych check`; the InputError that it raises is reported at the chain's last item.
    """

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The steps of one generation."""
        ...
