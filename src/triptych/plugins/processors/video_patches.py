"""The video processor of Qwen3-VL, without transformers, torch and torchvision."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from triptych.core.ports import Array, Port
from triptych.core.prompt import digest_of
from triptych.plugins.processors.clips import Clip, VideoError
from triptych.plugins.processors.colours import CHANNELS
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.frames import (
    Sampling,
    Timeline,
    seconds_of_patches,
    whole_steps,
)
from triptych.plugins.processors.patch_rows import channel_bytes, patch_rows, planes_of
from triptych.plugins.processors.patches import MAX_ASPECT, PatchConfig
from triptych.plugins.processors.video_kind import VideoBounds

HALF = (0.5, 0.5, 0.5)
FLOOR = 1.05
"""With capped frames, each may have this much of the clip's fewest pixels (qwen-vl-utils)."""


class VideoConfig(PatchConfig):
    """What ``video_preprocessor_config.json`` may say; the defaults are transformers'.

    size: counts the pixels of all frames together. fps: frames looked at for each second.
    cap_pixels_per_frame: whether no frame has more than max_video_tokens merged rows.
    """

    size: dict[str, int | None] = Field(
        {"shortest_edge": 128 * 32 * 32, "longest_edge": 768 * 32 * 32}
    )
    image_mean: tuple[float, float, float] = HALF
    image_std: tuple[float, float, float] = HALF
    patch_size: int = Field(16, gt=0)
    do_sample_frames: bool = True
    fps: float = Field(2, gt=0)
    num_frames: int | None = Field(None, gt=0)
    min_frames: int = Field(4, gt=0)
    max_frames: int = Field(768, gt=0)
    cap_pixels_per_frame: bool = False
    max_video_tokens: int = Field(768, gt=0)


@dataclass(frozen=True)
class Measured:
    """A clip as the model sees it.

    digest: of its pixels and of all that decides its ports. seconds: of each temporal patch.
    rows: merged visual rows of each temporal patch. compute: gives the ports.
    """

    digest: str
    seconds: tuple[float, ...]
    rows: int
    compute: Callable[[], Mapping[str, Array]]


class VideoPatches:
    """A clip as rows of patches, each of which covers a few frames (temporal_patch_size).

    Frames are chosen evenly, resized alike so that all of them together stay within the
    bounds, and cut into patches as pictures are.
    """

    def __init__(self, config: Mapping[str, Any], bounds: VideoBounds, place: str) -> None:
        known = {name: value for name, value in config.items() if value is not None}
        said = {"fps": bounds.fps, "max_frames": bounds.max_frames}
        known |= {name: value for name, value in said.items() if value is not None}
        try:
            self._config = VideoConfig.model_validate(known)
        except ValidationError as error:
            raise ProcessorError(f"{place}: the video processor's settings: {error}") from error
        smallest, largest = (
            self._config.size.get(f"{edge}_edge") for edge in ("shortest", "longest")
        )
        largest = bounds.max_pixels or largest
        if smallest is None or largest is None:
            raise ProcessorError(
                f"{place}: a video's pixels must be bounded from below and above, not from "
                f"{smallest} to {largest} (size.shortest_edge, size.longest_edge)"
            )
        self._bounds = min(smallest, largest), largest
        self._table = _colours(self._config)
        self._fingerprint = "video " + json.dumps(
            {**self._config.model_dump(), "bounds": self._bounds}, sort_keys=True, default=str
        )
        side = self._config.patch_size
        features = CHANNELS * self._config.temporal_patch_size * side * side
        self.offers: tuple[Port, ...] = (
            Port("pixel_values", "float32", ("patches", features)),
            Port("image_grid_thw", "int64", ("images", 3)),
        )

    def measure(self, clip: Clip, fps: float | None) -> Measured:
        """Choose, decode and resize frames; patches are made when the ports are computed.

        fps: frames per second of the clip; None: as it says, and if it does not, as many as
        are looked at.

        Raises InputError for a clip that cannot be used.
        """
        config = self._config
        timeline = clip.timeline or Timeline(clip.count, config.fps)
        if fps is not None:
            timeline = Timeline(clip.count, fps)
        chosen = self._sampling(timeline).indices(timeline)
        if len(chosen) == 1:
            raise VideoError(f"{clip.named} has a single frame; give it as an image")
        frames = self._resized(clip, chosen)
        digest = digest_of(self._fingerprint, frames.shape, frames.tobytes())
        side, steps = config.patch_size, config.temporal_patch_size
        seconds = seconds_of_patches(whole_steps(chosen, steps), timeline, steps)
        rows, columns = (length // side for length in frames.shape[2:])
        held = [frames]

        def compute() -> Mapping[str, Array]:
            pixels = held.pop()  # The media lives as long as its conversation; they need not.
            return {
                "pixel_values": self._patches(pixels),
                "image_grid_thw": np.array([[1, rows, columns]] * len(seconds), np.int64),
            }

        return Measured(digest, tuple(seconds), rows * columns // config.merge_size**2, compute)

    def _sampling(self, timeline: Timeline) -> Sampling:
        config = self._config
        if not config.do_sample_frames:
            return Sampling(None, 1, timeline.count)
        return Sampling(config.fps, config.min_frames, config.max_frames, config.num_frames)

    def _resized(self, clip: Clip, chosen: Sequence[int]) -> npt.NDArray[np.uint8]:
        """The chosen frames, uint8 [frames, channels, height, width], all resized alike."""
        decoded = clip.frames(chosen)
        first = next(decoded)
        size = self._target(len(chosen), first.height, first.width, clip.named)
        frames = np.empty((len(chosen), CHANNELS, *size), np.uint8)
        for at, frame in enumerate(chain([first], decoded)):
            if frame.size != first.size:
                raise VideoError(
                    f"{clip.named}: frame {chosen[at]} has {frame.width} x {frame.height} pixels, "
                    f"and the first {first.width} x {first.height}; make all of one size"
                )
            resized = frame.resize(size[::-1], self._config.resample)
            frames[at] = planes_of(channel_bytes(resized), resized.width)
        return frames

    def _target(self, count: int, height: int, width: int, named: str) -> tuple[int, int]:
        """The height and width that each of `count` frames is resized to (transformers' rule)."""
        config = self._config
        factor = config.patch_size * config.merge_size
        if not config.do_resize:
            if height % factor or width % factor:
                raise VideoError(
                    f"{named} has frames of {width} x {height} pixels, and this model does not "
                    f"resize; make both sides multiples of {factor}"
                )
            return height, width
        smallest, largest = self._bounds
        if config.cap_pixels_per_frame:
            cap = min(config.max_video_tokens * factor**2, largest // count)
            largest = max(cap, int(smallest * FLOOR)) * count
        if min(height, width) < factor:
            enlarged = max(factor / height, factor / width)
            height, width = int(height * enlarged), int(width * enlarged)
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise VideoError(
                f"{named} has frames of {width} x {height} pixels; one side may be at most "
                f"{MAX_ASPECT} times the other: crop or pad them"
            )
        steps = config.temporal_patch_size
        sides = [round(side / factor) * factor for side in (height, width)]
        volume = round(count / steps) * steps * math.prod(sides)
        if volume > largest:
            shrink = math.sqrt(count * height * width / largest)
            sides = [
                max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width)
            ]
        elif volume < smallest:
            grow = math.sqrt(smallest / (count * height * width))
            sides = [math.ceil(side * grow / factor) * factor for side in (height, width)]
        return sides[0], sides[1]

    def _patches(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        config = self._config
        steps = config.temporal_patch_size
        return patch_rows(
            [list(frames[index]) for index in whole_steps(range(len(frames)), steps)],
            self._table,
            side=config.patch_size,
            merge=config.merge_size,
            steps=steps,
        )


def _colours(config: VideoConfig) -> npt.NDArray[np.float32]:
    """What each of the 256 values of each channel becomes: f32 [channels, 256].

    The steps and their rounding are those of transformers' video processors, which scale mean
    and deviation in place of the pixels.
    """
    levels = np.tile(np.arange(256, dtype=np.float32), (CHANNELS, 1))
    if not config.do_normalize:
        return levels * np.float32(config.rescale_factor) if config.do_rescale else levels
    scale = np.float32(1 / config.rescale_factor if config.do_rescale else 1)
    mean, std = (
        np.array(values, np.float32)[:, None] * scale
        for values in (config.image_mean, config.image_std)
    )
    table: npt.NDArray[np.float32] = (levels - mean) / std
    return table
