"""What a method of quantization is."""

from __future__ import annotations

from typing import Protocol

from triptych.core.ports import Array
from triptych.export.precision.blocks import BlockFormat, Blocks


class Quantizer(Protocol):
    """Chooses codes, scales and zeros for some rows of a weight."""

    def __call__(self, rows: Array, form: BlockFormat) -> Blocks:
        """rows: f32 [n, K], a tile that fits into the processor's cache. Called from threads."""
        ...
