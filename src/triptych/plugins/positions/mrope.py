"""`mrope`: 3D rotary positions of text and images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydantic import Field

from triptych.core.config import settings
from triptych.core.errors import InputError
from triptych.core.ports import Array, CachePair, Port, When

Ints = npt.NDArray[np.int64]


class MRope:
    """Positions of Qwen2-VL (arXiv 2409.12191, section 2.1) and of what came after it.

    A text token stands at the same place on all three axes. A merged visual row stands at its
    frame, row and column, counted from where its image begins; what follows an image goes on
    after the larger of its height and width. How the axes share the rotary dimensions
    (interleaved in Qwen3-VL, in sections before) is the decoder's affair.

    Images are found by `visual_index` i64 [S], so a placeholder that the model itself emits is
    text. Writes `position_ids` i64 [3, S] and `next_position` i64 [S], the position after each
    token (for all tokens of an image: after the image).
    """

    class Settings(settings.Settings):
        """merge_size: patches per side that one visual row covers."""

        merge_size: int = Field(default=2, ge=1)

    when = When.INPUT
    whole = False
    every_row = True
    reads = (
        Port("visual_index", "int64", ("S",)),
        Port("start_position", "int64", (1,)),
        Port("image_grid_thw", "int64", ("images", 3), absent=0),
    )
    writes = (Port("position_ids", "int64", (3, "S")), Port("next_position", "int64", ("S",)))
    cache_pairs: tuple[CachePair, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self.merge_size = settings.merge_size

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Positions of the tokens that enter. Raises InputError when grids and rows disagree."""
        positions, following = mrope_positions(
            ports["visual_index"],
            ports["image_grid_thw"],
            start=int(ports["start_position"][0]),
            merge_size=self.merge_size,
        )
        return {"position_ids": positions, "next_position": following}


def mrope_positions(
    visual_index: Ints, grids: Ints, *, start: int, merge_size: int
) -> tuple[Ints, Ints]:
    """int64 [3, S] positions and int64 [S] next positions.

    visual_index: int64 [S], the visual row of each token or -1. grids: int64 [images, 3] as
    (frames, height, width) in patches, in the order of the rows. start: the first position.
    Raises InputError when the rows are not those of the grids, or an image is broken up.
    """
    count = len(visual_index)
    positions = np.empty((3, count), np.int64)
    following = np.empty(count, np.int64)
    if count == 1 and not len(grids) and visual_index[0] < 0:
        # The one token of a step, for which it takes no `arange`.
        positions.fill(start)
        following.fill(start + 1)
        return positions, following
    at, position, row = 0, start, 0
    merged = (grids // [1, merge_size, merge_size]).tolist() if len(grids) else ()
    for frames, height, width in merged:
        rows = frames * height * width
        begins = np.flatnonzero(visual_index == row)
        whole = np.arange(row, row + rows)
        if len(begins) != 1 or not np.array_equal(
            visual_index[begins[0] : begins[0] + rows], whole
        ):
            raise InputError(
                f"mrope: an image of {height} x {width} merged patches has no {rows} tokens in a "
                "row; a stage that drops visual rows must come after mrope"
            )
        begin = int(begins[0])
        _count_up(positions, following, at, begin, position)
        position += begin - at
        end = begin + rows
        place = np.indices((frames, height, width)).reshape(3, rows)
        positions[:, begin:end] = place + position
        position += max(height, width)
        following[begin:end] = position
        at, row = end, row + rows
    if visual_index[at:].max(initial=-1) >= 0:
        raise InputError("mrope: there are visual rows that belong to no image grid")
    _count_up(positions, following, at, count, position)
    return positions, following


def _count_up(positions: Ints, following: Ints, begin: int, end: int, position: int) -> None:
    """Text between `begin` and `end`: one place after the other on all three axes."""
    run = np.arange(position, position + end - begin + 1)
    positions[:, begin:end] = run[:-1]
    following[begin:end] = run[1:]
