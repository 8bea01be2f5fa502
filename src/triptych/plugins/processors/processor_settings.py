"""What a pipeline file may say of a processor."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from triptych.core.config.settings import Settings
from triptych.core.paths import FilePath

PIXEL_LIMIT = 89_478_485
"""Pixels of the largest picture: Pillow's own threshold of a decompression bomb, 1 GiB / 12."""
FRAME_LIMIT = 54_000
"""Frames of the longest video: half an hour at thirty a second."""


class ProcessorSettings(Settings):
    """Where a model's files are, and how large pictures and videos may be."""

    folder: FilePath
    """Holds tokenizer.json, and preprocessor_config.json for images."""
    min_pixels: int | None = Field(None, gt=0)
    """Smaller pictures are enlarged to this many pixels; default: the folder's own."""
    max_pixels: int | None = Field(None, gt=0)
    """Larger pictures are shrunk to this many pixels; default: the folder's own."""
    pixel_limit: int = Field(PIXEL_LIMIT, gt=0)
    """Pictures of more pixels are refused before they are decoded."""
    video_fps: float | None = Field(None, gt=0)
    """Frames that are looked at for each second of a video; default: the folder's own."""
    video_max_frames: int | None = Field(None, gt=1)
    """The most frames that are looked at; default: the folder's own."""
    video_max_pixels: int | None = Field(None, gt=0)
    """Frames are shrunk to this many pixels in all; default: the folder's own."""
    frame_limit: int = Field(FRAME_LIMIT, gt=0)
    """Videos of more frames are refused before they are decoded."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise PydanticCustomError("pixels", "min_pixels is larger than max_pixels; swap them")
        return self
