"""What a chat template's one placeholder of a medium becomes: text, and tokens for its rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rows:
    """A run of `count` merged visual rows; each takes one token, its kind's placeholder."""

    count: int


@dataclass(frozen=True)
class Expansion:
    """What stands in the prompt for one medium.

    pieces: in order. A text is tokenized together with what surrounds it, as the template's
        own text is, so it may spell special tokens, except a placeholder.
    before, after: texts right around the placeholder that it replaces too, where they are.

    An image of Qwen's is ``Expansion((Rows(n),))``. A one-frame video of Qwen3-VL, whose
    template writes ``<|vision_start|><|video_pad|><|vision_end|>``, is the pieces
    ``"<0.3 seconds><|vision_start|>"``, ``Rows(n)`` and ``"<|vision_end|>"``, with
    ``before="<|vision_start|>"`` and ``after="<|vision_end|>"``.
    """

    pieces: tuple[str | Rows, ...]
    before: str = ""
    after: str = ""
