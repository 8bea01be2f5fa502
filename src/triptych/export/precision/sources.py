"""Where the blocks of a weight come from: a quantizer, or someone who made them before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import numpy as np

from triptych.core.ports import Array
from triptych.export.checkpoint import Weight
from triptych.export.precision.blocks import BlockFormat, Blocks
from triptych.export.precision.quantizers import QUANTIZERS, Quantizer
from triptych.export.tensors import spans

# Values of one tile: what a quantizer works on then stays in the cache of a core.
TILE_VALUES = 32 * 1024


class BlockSource(Protocol):
    """The blocks of one weight [N, K], from top to bottom.

    What a calibration found and what a checkpoint holds quantized already are such sources; they
    are given to a `RecipePrecision` by the weight's name.
    """

    @property
    def format(self) -> BlockFormat:
        """The same for all rows."""
        ...

    @property
    def method(self) -> str:
        """Who made them, "hqq" say: blocks of one weight, format and method are equal."""
        ...

    def pieces(self) -> Iterator[Blocks]:
        """All rows, some at a time; called anew whenever the weight is written."""
        ...


@dataclass(frozen=True)
class Quantized:
    """A weight of a checkpoint, quantized while it is written, on all cores."""

    weight: Weight
    format: BlockFormat
    method: str

    def pieces(self) -> Iterator[Blocks]:
        """As many rows at a time as a piece may have values."""
        rows, columns = self.weight.shape
        stored = self.weight.read()
        quantize = partial(_tile, QUANTIZERS[self.method], self.format)
        for span in spans(rows, columns):
            piece = stored[span]
            step = max(1, TILE_VALUES // max(1, columns))
            tiles = [piece[start : start + step] for start in range(0, len(piece), step)]
            yield joined(list(_threads().map(quantize, tiles)))


def joined(parts: list[Blocks]) -> Blocks:
    """Rows under one another."""
    first = parts[0]
    zeros = [part.zeros for part in parts if part.zeros is not None]
    return Blocks(
        first.format,
        first.columns,
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scales for part in parts]),
        np.concatenate(zeros) if zeros else None,
    )


def _tile(quantize: Quantizer, form: BlockFormat, rows: Array) -> Blocks:
    return quantize(rows.astype(np.float32), form)


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads do, because numpy lets others run while it computes."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="quantize")
