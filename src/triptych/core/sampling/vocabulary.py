"""What a sampling step may know of the tokens besides their logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Vocabulary(Protocol):
    """The tokens of a pipeline, as its processor knows them."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """The tokens that end a reply."""
        ...

    def encode(self, text: str) -> list[int]:
        """Plain text to token ids; spelled-out special tokens stay text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Token ids to text."""
        ...
