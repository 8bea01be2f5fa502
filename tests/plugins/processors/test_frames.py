"""Which frames of a clip are looked at, and the times that they get."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from triptych.plugins.processors.frames import (
    Sampling,
    Timeline,
    seconds_of_patches,
    whole_steps,
)

QWEN = Sampling(fps=2.0, fewest=4, most=768)


@pytest.fixture(scope="module")
def reference() -> Any:
    """transformers' sampler: its class needs torchvision to be made, its methods do not."""
    module = import_module("transformers.models.qwen3_vl.video_processing_qwen3_vl")
    return object.__new__(module.Qwen3VLVideoProcessor)


@pytest.fixture(scope="module")
def processor() -> Any:
    """transformers' processor without its parts."""
    from transformers import Qwen3VLProcessor

    return object.__new__(Qwen3VLProcessor)


@pytest.mark.parametrize("fps", [1.0, 2.0, 2.5, 12.0, 23.976, 24.0, 29.97, 30.0, 240.0])
def test_frames_are_those_that_transformers_samples(reference: Any, fps: float) -> None:
    from transformers.video_utils import VideoMetadata

    for count in (1, 2, 3, 4, 5, 7, 24, 25, 100, 719, 720, 12_345, 54_000):
        wanted = reference.sample_frames(VideoMetadata(total_num_frames=count, fps=fps))
        assert QWEN.indices(Timeline(count, fps)) == wanted.tolist()


def test_frames_by_hand() -> None:
    ten_seconds = Timeline(count=100, fps=10.0)
    assert len(QWEN.indices(ten_seconds)) == 20
    assert QWEN.indices(Timeline(30, 10.0)) == [0, 6, 12, 17, 23, 29]
    assert QWEN.indices(Timeline(10, 100.0)) == [0, 3, 6, 9], "at least four"
    assert QWEN.indices(Timeline(3, 100.0)) == [0, 1, 2], "but no frame twice"
    assert len(Sampling(2.0, 4, 6).indices(ten_seconds)) == 6, "at most"
    assert Sampling(2.0, 4, 768, number=2).indices(ten_seconds) == [0, 99]
    assert Sampling(None, 1, 1).indices(Timeline(5, 1.0)) == [0, 1, 2, 3, 4]


def test_the_last_frame_fills_the_last_patch() -> None:
    assert whole_steps([0, 4, 9], 2) == [0, 4, 9, 9]
    assert whole_steps([0, 4], 2) == [0, 4]
    assert whole_steps([3], 3) == [3, 3, 3]


@pytest.mark.parametrize("steps", [2, 3])
def test_times_are_those_of_transformers(processor: Any, steps: int) -> None:
    for count, fps in [(30, 10.0), (5, 2.5), (7, 24.0), (1000, 29.97), (91, 23.976)]:
        timeline = Timeline(count, fps)
        chosen = QWEN.indices(timeline)
        wanted = processor._calculate_timestamps(list(chosen), fps, steps)
        assert seconds_of_patches(whole_steps(chosen, steps), timeline, steps) == wanted


def test_times_by_hand() -> None:
    assert seconds_of_patches([0, 6, 12, 12], Timeline(30, 10.0), 2) == pytest.approx([0.3, 1.2])


def test_frames_that_last_unequally_have_the_times_at_which_they_begin() -> None:
    timeline = Timeline(4, fps=1.0, starts=(0.0, 0.5, 3.5, 3.75))
    assert seconds_of_patches([0, 1, 2, 3], timeline, 2) == [0.25, 3.625]
