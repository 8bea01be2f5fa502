"""Questions with known answers: sums."""

import random

import triptych
from pydantic import Field


class __CLASS__:
    """Sums of two numbers below 10, drawn with a seed."""

    class Settings(triptych.Settings):
        """count: how many. seed: of the numbers."""

        count: int = Field(default=100, ge=1)
        seed: int = Field(default=0, ge=0)

    def __init__(self, settings):
        self.settings = settings

    def __iter__(self):
        """The same items in the same order, each time."""
        numbers = random.Random(self.settings.seed)
        for place in range(self.settings.count):
            one, other = numbers.randrange(10), numbers.randrange(10)
            request = triptych.Request(f"What is {one} plus {other}?")
            yield triptych.Item(id=f"sum-{place}", request=request, reference=str(one + other))
