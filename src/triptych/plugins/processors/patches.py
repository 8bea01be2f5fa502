"""The image processor of Qwen2-VL and its successors, Qwen3-VL among them, without transformers.

transformers' own takes seconds to import and brings torch along where that is installed; what
it computes is a resize and a table lookup. The results are the same to the bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.core.ports import Array, Port
from triptych.plugins.processors.colours import CHANNELS, colour_table
from triptych.plugins.processors.expansion import Expansion, Rows
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.image_ports import Bounds, ImageError, MeasuredImage
from triptych.plugins.processors.patch_rows import channel_bytes, patch_rows, planes_of

if TYPE_CHECKING:
    from PIL.Image import Image

TYPES = ("Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil")
"""Values of ``image_processor_type`` that name it."""
MAX_ASPECT = 200
"""The largest ratio of sides that the models were made for (transformers' limit)."""

BICUBIC, LAST_FILTER = 3, 5
"""Pillow's numbers of its filters, which transformers uses, too. Pillow is not needed for text."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's colour statistics (arXiv 2103.00020, its code), the default of Qwen2-VL."""


class PatchConfig(BaseModel):
    """What ``preprocessor_config.json`` may say; the defaults are transformers'.

    size: ``shortest_edge`` and ``longest_edge``, which in this family count pixels of the whole
    picture. patch_size: pixels of a patch's side. merge_size: patches of a merged row's side.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    do_resize: bool = True
    size: dict[str, int | None] = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}
    min_pixels: int | None = None
    max_pixels: int | None = None
    resample: int = Field(BICUBIC, ge=0, le=LAST_FILTER)
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD
    patch_size: int = Field(14, gt=0)
    temporal_patch_size: int = Field(2, gt=0)
    merge_size: int = Field(2, gt=0)


class PatchImages:
    """A picture as a row of patches.

    Its sides become multiples of a merged row's side, its pixels stay within the bounds and
    its shape as near as possible; then each patch is one row of normalised colours.
    """

    def __init__(self, config: Mapping[str, Any], bounds: Bounds, place: str) -> None:
        try:
            known = {name: value for name, value in config.items() if value is not None}
            self._config = PatchConfig.model_validate(known)
        except ValidationError as error:
            raise ProcessorError(f"{place}: the image processor's settings: {error}") from error
        size = self._config.size
        smallest = _first(bounds.min_pixels, self._config.min_pixels, size.get("shortest_edge"))
        largest = _first(bounds.max_pixels, self._config.max_pixels, size.get("longest_edge"))
        if smallest is None or largest is None or smallest > largest:
            raise ProcessorError(
                f"{place}: a picture's pixels must be bounded from below and above, "
                f"not from {smallest} to {largest} (min_pixels, max_pixels)"
            )
        self._bounds = smallest, largest
        read = self._config
        self._table = colour_table(
            read.rescale_factor if read.do_rescale else None,
            read.image_mean if read.do_normalize else None,
            read.image_std if read.do_normalize else None,
        )
        self.fingerprint = json.dumps(
            {**self._config.model_dump(), "bounds": self._bounds}, sort_keys=True, default=str
        )
        side = self._config.patch_size
        features = CHANNELS * self._config.temporal_patch_size * side * side
        self.offers: tuple[Port, ...] = (
            Port("pixel_values", "float32", ("patches", features)),
            Port("image_grid_thw", "int64", ("images", 3)),
        )

    def measure(self, image: Image, place: str) -> MeasuredImage:
        """Rows by arithmetic. Pixels are resized now, and cut when the ports are computed."""
        height, width = self._target(image.height, image.width, place)
        side = self._config.patch_size
        rows = (height // side) * (width // side) // self._config.merge_size**2
        if image.size != (width, height):
            image = image.resize((width, height), resample=self._config.resample)
        content = channel_bytes(image)
        held = [content]

        def compute() -> Mapping[str, Array]:
            ports = self._ports(held[0], height, width)
            held.clear()  # The media lives as long as its conversation; its pixels need not.
            return ports

        return MeasuredImage(Expansion((Rows(rows),)), content, compute)

    def _target(self, height: int, width: int, place: str) -> tuple[int, int]:
        """The height and width that a picture is resized to (Qwen2-VL, arXiv 2409.12191)."""
        factor = self._config.patch_size * self._config.merge_size
        if not self._config.do_resize:
            if height % factor or width % factor:
                raise ImageError(
                    f"{place} has {width} x {height} pixels, and this model does not resize; "
                    f"make both sides multiples of {factor}"
                )
            return height, width
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise ImageError(
                f"{place} has {width} x {height} pixels; one side may be at most {MAX_ASPECT} "
                "times the other: crop or pad it"
            )
        smallest, largest = self._bounds
        sides = [round(side / factor) * factor for side in (height, width)]
        if math.prod(sides) > largest:
            shrink = math.sqrt((height * width) / largest)
            sides = [
                max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width)
            ]
        elif math.prod(sides) < smallest:
            grow = math.sqrt(smallest / (height * width))
            sides = [math.ceil(side * grow / factor) * factor for side in (height, width)]
        return sides[0], sides[1]

    def _ports(self, content: tuple[bytes, ...], height: int, width: int) -> Mapping[str, Array]:
        """``pixel_values`` f32 [patches, features] and ``image_grid_thw`` i64 [1, 3]."""
        config = self._config
        side = config.patch_size
        values = patch_rows(
            [planes_of(content, width)],
            self._table,
            side=side,
            merge=config.merge_size,
            steps=config.temporal_patch_size,
        )
        return {
            "pixel_values": values,
            "image_grid_thw": np.array([[1, height // side, width // side]], np.int64),
        }


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
