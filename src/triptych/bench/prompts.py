"""Prompts of random tokens."""

from __future__ import annotations

import random


def prompts(count: int, length: int, vocabulary: int, *, seed: int) -> list[list[int]]:
    """`count` lists of `length` ids below `vocabulary`, the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311  # numbers to compute with, not secrets
    return [[draw.randrange(vocabulary) for _ in range(length)] for _ in range(count)]
