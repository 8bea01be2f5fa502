"""Labels of patches, for the auxiliary heads that make the model look while it trains.

Without them the model learns what the phrasing of a question gives away and stays there. Labels
are per 16-pixel patch, since several digits share the 32-pixel place of one visual token.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from triptych.models.sketch.palette import COLORS
from triptych.models.sketch.scenes import CONTENTS, Scene
from triptych.models.sketch.sizes import MERGE, PATCH, resized

CELLS = 4
"""A patch is looked at through 4 x 4 cells; a mark must cover a quarter of them to be named."""

IGNORE = -100
"""Label of a patch whose colour has no single name (patterns of two colours)."""

CONTENT_INDEX = {name: index for index, name in enumerate(CONTENTS)}
COLOR_INDEX = {name: index for index, name in enumerate(COLORS)}

Labels = NDArray[np.int64]


def merge_order(grid: NDArray[np.generic], block: int) -> NDArray[np.generic]:
    """[rows*block, columns*block, ...] as [patches, block, block, ...] in Qwen's patch order.

    Qwen3-VL lists the 2 x 2 patches of each merged place one after the other.
    """
    height, width = grid.shape[0] // (MERGE * block), grid.shape[1] // (MERGE * block)
    split = grid.reshape(height, MERGE, block, width, MERGE, block, *grid.shape[2:])
    rest = tuple(range(6, split.ndim))
    ordered = split.transpose(0, 3, 1, 4, 2, 5, *rest)
    return ordered.reshape(height * width * MERGE * MERGE, block, block, *grid.shape[2:])


def patch_labels(scene: Scene) -> tuple[Labels, Labels]:
    """Content and colour of every patch, int64 [patches] each, in Qwen's patch order."""
    height, width = resized((scene.image.height, scene.image.width))
    rows, columns = height // PATCH * CELLS, width // PATCH * CELLS
    stretch = (columns / scene.image.width, rows / scene.image.height)
    drawn = Image.new("L", (columns, rows))
    draw = ImageDraw.Draw(drawn)
    for index, mark in enumerate(scene.marks):
        # A pixel's centre is half a pixel from its index, which is what PIL draws by.
        corners = [(x * stretch[0] - 0.5, y * stretch[1] - 0.5) for x, y in mark.corners]
        draw.polygon(corners, fill=index + 1)
    cells = merge_order(np.asarray(drawn), CELLS).reshape(-1, CELLS * CELLS)
    covered = np.stack([(cells == index + 1).sum(1) for index in range(len(scene.marks))], 1)
    best = covered.argmax(1)
    shown = covered.max(1) >= CELLS * CELLS // 4
    content = np.array([CONTENT_INDEX[mark.content] for mark in scene.marks], np.int64)
    color = np.array(
        [IGNORE if mark.color is None else COLOR_INDEX[mark.color] for mark in scene.marks],
        np.int64,
    )
    ground = IGNORE if scene.background is None else COLOR_INDEX[scene.background]
    return np.where(shown, content[best], 0), np.where(shown, color[best], ground)
