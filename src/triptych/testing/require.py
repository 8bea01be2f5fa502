"""How a check fails: with a sentence, under ``python -O`` too."""

from __future__ import annotations


def require(promise: object, sentence: str) -> None:
    """Raise AssertionError with `sentence` unless `promise` is true."""
    if not promise:
        raise AssertionError(sentence)
