"""Clips become patches: sizes and order are transformers', pixels are worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.core.errors import InputError
from triptych.plugins.processors.clips import Limits
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.picture_clips import listed
from triptych.plugins.processors.video_kind import VideoBounds
from triptych.plugins.processors.video_patches import Measured, VideoPatches

FREE = {"size": {"shortest_edge": 1, "longest_edge": 10**9}}
LIMITS = Limits(frames=1000, pixels=10**7)


def noise(count: int, width: int, height: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(count * width + height)
    return rng.integers(0, 256, (count, height, width, 3), np.uint8)


def measured(
    frames: Sequence[Any] | np.ndarray[Any, Any],
    config: dict[str, Any],
    bounds: VideoBounds = VideoBounds(),  # noqa: B008 - frozen
    fps: float | None = None,
) -> Measured:
    return VideoPatches(config, bounds, "model").measure(listed(frames, "videos[0]", LIMITS), fps)


def grid(found: Measured) -> list[int]:
    """The rows of the grid, which are all alike, as one row of transformers' video_grid_thw."""
    rows = found.compute()["image_grid_thw"]
    assert (rows == [1, *rows[0, 1:]]).all()
    return [len(rows), *rows[0, 1:].tolist()]


@pytest.fixture(scope="module")
def reference() -> Any:
    """transformers' module: its resize needs torchvision, its arithmetic does not."""
    return import_module("transformers.models.qwen3_vl.video_processing_qwen3_vl")


# By hand


def test_a_clip_of_two_frames_is_one_step_of_patches() -> None:
    """Two by two patches, one merged row; each patch holds both frames, one after the other."""
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    frames[0, 3, 16 + 5, 1] = 255
    frames[1, 16 + 7, 9, 2] = 255
    ports = measured(frames, FREE).compute()
    assert ports["image_grid_thw"].tolist() == [[1, 2, 2]]
    assert ports["pixel_values"].shape == (4, 3 * 2 * 16 * 16)
    values = ports["pixel_values"].reshape(4, 3, 2, 16, 16)
    # Patch, channel, time, row, column.
    assert np.argwhere(values == 1).tolist() == [[1, 1, 0, 3, 5], [2, 2, 1, 7, 9]]
    assert (values == -1).sum() == values.size - 2


def test_an_odd_number_of_frames_ends_with_the_last_one_twice() -> None:
    frames = np.stack([np.full((32, 64, 3), shade, np.uint8) for shade in (0, 51, 102)])
    found = measured(frames, FREE)
    ports = found.compute()
    assert ports["image_grid_thw"].tolist() == [[1, 2, 4], [1, 2, 4]]
    assert found.rows == 2
    assert found.seconds == (0.25, 1.0), "at two frames a second: (0 + 0.5) / 2, (1 + 1) / 2"
    by_time = ports["pixel_values"].reshape(2, 8, 3, 2, 256)
    for step, shade in [((0, 0), 0), ((0, 1), 51), ((1, 0), 102), ((1, 1), 102)]:
        np.testing.assert_allclose(by_time[step[0], :, :, step[1]], shade / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [-1.0, -0.6, 1.0]),
        ({"image_mean": [0.2, 0.2, 0.2], "image_std": [0.4, 0.4, 0.4]}, [-0.5, 0.0, 2.0]),
        ({"do_normalize": False}, [0.0, 0.2, 1.0]),
        ({"do_rescale": False, "do_normalize": False}, [0.0, 51.0, 255.0]),
        ({"do_rescale": False, "image_mean": [1] * 3, "image_std": [2] * 3}, [-0.5, 25.0, 127.0]),
    ],
    ids=str,
)
def test_colours_are_scaled_and_normalised(settings: dict[str, Any], expected: list[float]) -> None:
    frames = np.stack([np.full((32, 32, 3), shade, np.uint8) for shade in (0, 51, 255, 255)])
    values = measured(frames, {**FREE, **settings}).compute()["pixel_values"]
    shades = values.reshape(2, 4, 3, 2, 256)[:, 0, 0, :, 0].ravel()
    np.testing.assert_allclose(shades, [*expected, expected[-1]], atol=1e-6)


@pytest.mark.parametrize(
    ("frames", "size", "bounds", "expected"),
    [
        # 4 x 64 x 96 pixels lie within the bounds.
        (4, (64, 96), (1, 10**6), [2, 4, 6]),
        # Sides to the nearest multiples of 32; halves go to the even one: 80 is 2.5 of them.
        (4, (80, 112), (1, 10**6), [2, 4, 8]),
        # 4 x 64 x 64 = 16,384 are four times too many: half the side.
        (4, (64, 64), (1, 4096), [2, 2, 2]),
        # 2 x 64 x 64 = 8,192 are four times too few: twice the side.
        (2, (64, 64), (32_768, 10**6), [1, 8, 8]),
        # Of three frames, four count against the bound: 4 x 4,096; but the sides shrink by the
        # square root of 3 x 4,096 / 16,000 < 1, and are cut to the multiple below.
        (3, (64, 64), (1, 16_000), [2, 4, 4]),
        # A side below 32 becomes 32, and the other grows with it: 20 x 50 is 32 x 80.
        (2, (20, 50), (1, 10**6), [1, 2, 4]),
    ],
)
def test_sizes(
    frames: int, size: tuple[int, int], bounds: tuple[int, int], expected: list[int]
) -> None:
    height, width = size
    config = {"size": {"shortest_edge": bounds[0], "longest_edge": bounds[1]}}
    assert grid(measured(noise(frames, width, height), config)) == expected


def test_frames_are_resized_as_pictures_are() -> None:
    frames = noise(2, 80, 48)
    found = measured(frames, FREE).compute()
    rows, columns = found["image_grid_thw"][0, 1:] * 16
    values = found["pixel_values"].reshape(rows // 32, columns // 32, 2, 2, 3, 2, 16, 16)
    pixels = values.transpose(5, 0, 2, 6, 1, 3, 7, 4).reshape(2, rows, columns, 3)
    for at, frame in enumerate(frames):
        wanted = Image.fromarray(frame).resize((columns, rows), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(pixels[at] * 127.5 + 127.5, np.asarray(wanted), atol=1e-3)


# Against transformers


@pytest.mark.parametrize("bounds", [(4096, 25_165_824), (131_072, 786_432), (1, 5000)], ids=str)
@pytest.mark.parametrize("steps", [2, 3])
def test_sizes_are_those_of_transformers(
    reference: Any, bounds: tuple[int, int], steps: int
) -> None:
    config = {
        "size": {"shortest_edge": bounds[0], "longest_edge": bounds[1]},
        "temporal_patch_size": steps,
    }
    patches = VideoPatches(config, VideoBounds(), "model")
    sides = (1, 16, 31, 33, 47, 48, 80, 97, 333, 1080, 1920)
    for count, height, width in product((steps, 3, 5, 7, 10, 768), sides, sides):
        if max(height, width) > 30 * min(height, width):
            continue
        wanted = reference.smart_resize(
            count,
            height,
            width,
            temporal_factor=steps,
            factor=32,
            min_pixels=bounds[0],
            max_pixels=bounds[1],
        )
        assert patches._target(count, height, width, "clip") == wanted


@pytest.mark.parametrize("count", [2, 5, 40, 768])
@pytest.mark.parametrize("shortest", [4096, 300_000])
def test_capped_frames_are_those_of_transformers(reference: Any, count: int, shortest: int) -> None:
    """The cap as transformers' `get_num_of_video_patches` counts it."""
    config = {
        "size": {"shortest_edge": shortest, "longest_edge": 3_000_000},
        "max_video_tokens": 50,
        "cap_pixels_per_frame": True,
    }
    patches = VideoPatches(config, VideoBounds(), "model")
    processor = object.__new__(reference.Qwen3VLVideoProcessor)
    for name, value in config.items():
        setattr(processor, name, value)
    for height, width in [(48, 64), (480, 640), (1080, 1920)]:
        rows, columns = (side // 16 for side in patches._target(count, height, width, "clip"))
        wanted = processor.get_num_of_video_patches(count, height, width)
        assert -(-count // 2) * rows * columns == wanted


@pytest.mark.parametrize("count", [2, 3, 4, 7])
@pytest.mark.parametrize(("side", "merge", "steps"), [(16, 2, 2), (8, 4, 3), (14, 1, 1)])
def test_patches_are_those_of_transformers(
    reference: Any, count: int, side: int, merge: int, steps: int
) -> None:
    import torch

    factor = side * merge
    frames = noise(count, 3 * factor, 2 * factor)
    config = {
        **FREE,
        "patch_size": side,
        "merge_size": merge,
        "temporal_patch_size": steps,
        "do_rescale": False,
        "do_normalize": False,
    }
    found = measured(frames, config).compute()
    processor = object.__new__(reference.Qwen3VLVideoProcessor)
    clip = torch.tensor(frames).permute(0, 3, 1, 2)[None].float()
    wanted, *sizes = processor.patchify(clip, side, merge, steps)
    np.testing.assert_array_equal(found["pixel_values"], wanted[0].numpy(), strict=True)
    assert [len(found["image_grid_thw"]), *found["image_grid_thw"][0, 1:]] == sizes


# Settings


def test_settings_of_the_pipeline_override_the_folder() -> None:
    frames = noise(40, 64, 64)
    assert grid(measured(frames, FREE, fps=10.0))[0] == 4, "8 frames of 4 seconds"
    assert grid(measured(frames, FREE, VideoBounds(fps=5.0), fps=10.0))[0] == 10
    assert grid(measured(frames, FREE, VideoBounds(max_frames=6), fps=10.0))[0] == 3
    assert grid(measured(frames, FREE, VideoBounds(max_pixels=8 * 32 * 32), fps=10.0)) == [4, 2, 2]


def test_without_sampling_every_frame_is_looked_at() -> None:
    frames = noise(9, 32, 32)
    assert grid(measured(frames, {**FREE, "do_sample_frames": False}, fps=100.0))[0] == 5
    assert grid(measured(frames, {**FREE, "num_frames": 2}, fps=100.0))[0] == 1


def test_pictures_that_say_no_rate_are_all_looked_at() -> None:
    assert grid(measured(noise(30, 32, 32), FREE))[0] == 15


def test_the_digest_is_of_the_frames_and_of_what_is_made_of_them() -> None:
    frames = noise(4, 32, 32)
    other = frames.copy()
    other[3, 0, 0, 0] += 1
    digests = [
        measured(frames, FREE).digest,
        measured(other, FREE).digest,
        measured(frames[::-1], FREE).digest,
        measured(frames[:2], FREE).digest,
        measured(frames, {**FREE, "do_normalize": False}).digest,
        measured(frames, FREE, VideoBounds(max_pixels=10**6)).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert measured(list(frames), FREE, fps=1.0).digest == digests[0], "times are text"


# Errors


@pytest.mark.parametrize(
    ("frames", "config", "message"),
    [
        (noise(1, 32, 32), FREE, r"videos\[0\] has a single frame; give it as an image"),
        (
            [*noise(3, 32, 32), *noise(1, 64, 32)],
            FREE,
            "frame 3 has 64 x 32 pixels, and the first 32 x 32; make all of one size",
        ),
        (noise(2, 8000, 32), FREE, "one side may be at most 200 times the other: crop or pad"),
        (
            noise(2, 40, 32),
            {**FREE, "do_resize": False},
            "does not resize; make both sides multiples of 32",
        ),
    ],
)
def test_clips_that_cannot_be_used(frames: Any, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measured(frames, config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"patch_size": "sixteen"}, "the video processor's settings"),
        ({"fps": 0}, "fps"),
        ({"size": {"height": 224, "width": 224}}, "bounded from below and above"),
    ],
)
def test_broken_settings_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ProcessorError, match=message):
        VideoPatches(config, VideoBounds(), "model")
