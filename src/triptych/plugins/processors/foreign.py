"""Image processors of other families, through transformers, which is imported on first use."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import numpy as np
from PIL.Image import Image

from triptych.core.ports import Port
from triptych.plugins.processors.expansion import Expansion, Rows
from triptych.plugins.processors.folder import ModelFolder, ProcessorError
from triptych.plugins.processors.image_ports import Bounds, ImageError, MeasuredImage


class ForeignImages:
    """What ``AutoImageProcessor`` finds in a folder, as long as it tells its grid.

    The import takes seconds, and brings torch along where that is installed.
    """

    offers: tuple[Port, ...] = (
        Port("pixel_values", "float32", ("patches", "features")),
        Port("image_grid_thw", "int64", ("images", 3)),
    )

    def __init__(self, folder: ModelFolder, bounds: Bounds) -> None:
        self._folder = folder
        self._bounds = bounds
        self.fingerprint = json.dumps([folder.image_config, repr(bounds)], sort_keys=True)

    def measure(self, image: Image, place: str) -> MeasuredImage:
        """Rows from the grid, so the ports are computed at once."""
        try:
            computed = self._processor(images=[image], return_tensors="np")
        except Exception as error:  # A foreign processor raises nearly anything.
            raise ImageError(f"{place}: the model's image processor failed: {error}") from error
        if not {"pixel_values", "image_grid_thw"} <= set(computed):
            raise ProcessorError(
                f"{self._folder.path}: {type(self._processor).__name__} gives "
                f"{', '.join(sorted(computed))}, and no image_grid_thw that tells how many "
                "tokens an image takes; this model needs a processor plugin of its own"
            )
        grid = np.asarray(computed["image_grid_thw"], np.int64)
        merge = int(getattr(self._processor, "merge_size", 1))
        ports = {"pixel_values": np.asarray(computed["pixel_values"]), "image_grid_thw": grid}
        rows = Rows(int(grid.prod()) // merge**2)
        return MeasuredImage(Expansion((rows,)), (image.tobytes(),), lambda: ports)

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor

        size = dict(self._folder.image_config.get("size") or {})
        if self._bounds.min_pixels is not None:
            size["shortest_edge"] = self._bounds.min_pixels
        if self._bounds.max_pixels is not None:
            size["longest_edge"] = self._bounds.max_pixels
        try:
            return AutoImageProcessor.from_pretrained(
                self._folder.path,
                backend="pil",
                local_files_only=True,
                trust_remote_code=False,
                **({"size": size} if size else {}),
            )
        except Exception as error:
            raise ProcessorError(
                f"the image processor in {self._folder.path} cannot be loaded: {error}"
            ) from error
