"""Which seed a run draws with, and whether it draws at all."""

from __future__ import annotations

import hashlib

from triptych.core.config.part import Part
from triptych.core.config.spec import PipelineSpec

_BYTES = 4


def run_seed(seed: int, item: str) -> int:
    """The seed of one request: 32 bits of SHA-256 over the sweep's seed and the item's id.

    The same in every arm, so that arms are compared on the same draws, and another for every item,
    so that no two questions share their luck.
    """
    digest = hashlib.sha256(f"{seed}\0{item}".encode()).digest()
    return int.from_bytes(digest[:_BYTES], "big")


def leaves_nothing_to_chance(spec: PipelineSpec) -> bool:
    """Whether every seed gives the same answer, as far as the parts say.

    A part of a plugin's that says nothing (``draws = False``) may draw.
    """
    return not _may_draw(spec.strategy) and not any(map(_may_draw, spec.sampler))


def _may_draw(part: Part) -> bool:
    built_in = part.entry.owner is None
    return bool(getattr(part.entry.load(), "draws", not built_in))
