"""What a chat template's one placeholder of a medium becomes: text, and tokens for its rows."""

from __future__ import annotations

from triptych.core.dataclass import dataclass


@dataclass(frozen=True)
class Rows:
    """A run of `count` merged visual rows; each takes one token, its kind's placeholder."""

    count: int


@dataclass(frozen=True)
class Expansion:
    """What stands in the prompt for one medium.

    pieces: in order. A text is tokenized together with what surrounds it, as the template's
        own text is, so it may spell special tokens, except a placeholder.

    An image of Qwen's is ``Expansion((Rows(n),))``. A video of Qwen3-VL has, for each temporal
    patch, ``"<0.3 seconds><|vision_start|>"``, ``Rows(n)`` and ``"<|vision_end|>"``.
    """

    pieces: tuple[str | Rows, ...]
