"""The best that the machine allows: bytes over bandwidth, operations over their rate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of the machine, as measured: bandwidth in bytes a second, the others in operations."""

    bandwidth: float
    float32: float
    int8: float

    def best(self, other: Limits) -> Limits:
        """The better of two measurements of one machine."""
        return Limits(
            max(self.bandwidth, other.bandwidth),
            max(self.float32, other.float32),
            max(self.int8, other.int8),
        )
