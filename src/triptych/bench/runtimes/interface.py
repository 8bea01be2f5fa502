"""What every runtime of a benchmark can be asked."""

from __future__ import annotations

from typing import Any, Protocol


class Runtime(Protocol):
    """One model in one process. Every method returns what its answer says; times are seconds.

    The order is `start`, `open`, and then any number of the others; `decode` follows a
    `prefill`. Tokens are ids, so that no tokenizer is measured; a token that would end a reply
    does not end it.
    """

    def start(self) -> dict[str, Any]:
        """Import what running needs. Gives `name` and `version`."""
        ...

    def open(self, path: str, *, threads: int) -> dict[str, Any]:
        """Load the model. Gives `seconds`, and `max_context` and `vocabulary` if it knows them."""
        ...

    def prefill(self, tokens: list[list[int]], *, new: int) -> dict[str, Any]:
        """Forward a prompt per sequence, all of one length, and choose the token after each.

        new: how many more tokens will follow. What earlier prompts left is forgotten first.
        Gives `seconds`.
        """
        ...

    def decode(self, count: int) -> dict[str, Any]:
        """Generate `count` tokens per sequence after the one that `prefill` chose, greedily.

        The sequences are as `prefill` left them, however often this is asked. Gives `seconds`.
        """
        ...

    def vision(self, *, width: int, height: int, seed: int) -> dict[str, Any]:
        """From the pixels of a picture of noise to its features. Gives `seconds`.

        Or `unable`, why there are none.
        """
        ...
