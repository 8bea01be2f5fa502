"""Prompts with videos: ids, rows and kinds as transformers' own processor lays them out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from tests.plugins.processors.conftest import VIDEO_CONFIG
from triptych.core.errors import InputError
from triptych.core.prompt import Prompt
from triptych.core.request import Request
from triptych.plugins.processors.hf import HFProcessor


@pytest.fixture(scope="module")
def folder(video_folder: Path) -> Path:
    return video_folder


@pytest.fixture(scope="module")
def videos(folder: Path) -> HFProcessor:
    return HFProcessor(HFProcessor.Settings(folder=folder))


@pytest.fixture(scope="module")
def reference(lay_out: Any) -> Any:
    return lay_out


def frames(count: int, width: int = 64, height: int = 48) -> list[Image.Image]:
    return [Image.new("RGB", (width, height), (index, 7, 200)) for index in range(count)]


def kinds(prompt: Prompt) -> list[int]:
    found = np.zeros(len(prompt.tokens), int)
    for item in prompt.media:
        found[item.at] = ("image", "video").index(item.kind) + 1
    return found.tolist()


def asked(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def video(source: Any, **more: Any) -> dict[str, Any]:
    return {"type": "video", "video": source, **more}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("count", "fps", "indices"),
    [
        (2, 2.0, [0, 1]),
        (5, 2.0, [0, 1, 2, 3, 4]),
        (8, 4.0, [0, 2, 5, 7]),
        (9, 23.976, [0, 3, 5, 8]),
        (60, 7.5, [0, 4, 8, 12, 16, 20, 24, 28, 31, 35, 39, 43, 47, 51, 55, 59]),
    ],
)
def test_a_video_has_the_ids_of_transformers(
    videos: HFProcessor, reference: Any, count: int, fps: float, indices: list[int]
) -> None:
    messages = [asked(video(frames(count), fps=fps), text("What moves?"))]
    prompt = videos.prompt(Request(messages=messages))
    grid = prompt.media[0].ports["image_grid_thw"]
    assert len(grid) == (len(indices) + 1) // 2
    wanted = reference(messages, [], [((len(grid), *grid[0, 1:]), indices, fps)])
    assert (prompt.tokens.tolist(), kinds(prompt)) == wanted


def test_a_video_by_hand(videos: HFProcessor) -> None:
    """Five frames, two a second: at 0 and 0.5, at 1 and 1.5, and the last, at 2, twice."""
    prompt = videos.prompt(Request("What?", videos=[frames(5, 96, 64)]))
    rows = "<|video_pad|>" * 6
    step = "<{} seconds><|vision_start|>" + rows + "<|vision_end|>"
    shown = "".join(step.format(second) for second in ("0.2", "1.2", "2.0"))
    wanted = (
        f"<|im_start|>user\n<|vision_start|>{shown}<|vision_end|>What?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    decoded = videos._codec._tokenizer.decode(prompt.tokens.tolist(), skip_special_tokens=False)
    assert decoded == wanted
    assert prompt.image_tokens == 18
    assert prompt.media[0].ports["image_grid_thw"].tolist() == [[1, 4, 6]] * 3
    assert prompt.media[0].ports["pixel_values"].shape == (72, 1536)


def test_videos_and_images_stand_where_their_parts_do(videos: HFProcessor, reference: Any) -> None:
    picture = Image.new("RGB", (96, 64))
    messages = [
        {"role": "system", "content": "Look."},
        asked(
            text("First"),
            video(frames(4), fps=1),
            text("then"),
            {"type": "image", "image": picture},
        ),
        {"role": "assistant", "content": "Yes."},
        asked({"type": "image", "image": picture}, video(frames(3, 32, 32)), text("Which?")),
    ]
    prompt = videos.prompt(Request(messages=messages))
    assert [item.kind for item in prompt.media] == ["video", "image", "image", "video"]
    grids = [item.ports["image_grid_thw"].tolist() for item in prompt.media]
    clips = [
        ((len(grids[i]), *grids[i][0][1:]), indices, fps)
        for i, indices, fps in [(0, [0, 1, 2, 3], 1.0), (3, [0, 1, 2], 2.0)]
    ]
    wanted = reference(messages, [tuple(grids[1][0]), tuple(grids[2][0])], clips)
    assert (prompt.tokens.tolist(), kinds(prompt)) == wanted


def test_images_beside_a_text_come_before_its_videos(videos: HFProcessor) -> None:
    short, picture = frames(2), Image.new("RGB", (64, 64))
    beside = videos.prompt(Request("a", images=[picture], videos=[short, short]))
    parts = [{"type": "image", "image": picture}, video(short), video(short), text("a")]
    within = videos.prompt(Request(messages=[asked(*parts)]))
    assert beside.tokens.tolist() == within.tokens.tolist()
    assert [item.kind for item in beside.media] == ["image", "video", "video"]
    assert [a.digest for a in beside.media] == [b.digest for b in within.media]
    assert beside.media[0].digest != beside.media[1].digest == beside.media[2].digest


def test_equal_clips_at_other_times_have_one_digest(videos: HFProcessor) -> None:
    """Their features are the same; what tells them apart is text."""
    slow, fast = (
        videos.prompt(Request(messages=[asked(video(frames(4), fps=fps))])) for fps in (1, 2)
    )
    assert slow.media[0].digest == fast.media[0].digest
    assert slow.tokens.tolist() != fast.tokens.tolist()


def test_a_file_is_decoded_again_only_when_it_changed_or_its_ports_are_wanted(
    videos: HFProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gif"
    moving = frames(4)
    moving[0].save(path, save_all=True, append_images=moving[1:], duration=500)
    request = Request("a", videos=[path])
    first, again = videos.prompt(request), videos.prompt(request)
    with monkeypatch.context() as patch:
        patch.setattr(GifImageFile, "seek", lambda *_: pytest.fail("it was decoded"))
        third = videos.prompt(request)
    assert third.tokens.tolist() == first.tokens.tolist()
    assert third.media[0].digest == first.media[0].digest
    for prompt in (first, again, third):
        ports = prompt.media[0].ports
        np.testing.assert_array_equal(ports["pixel_values"], first.media[0].ports["pixel_values"])
    fourth = videos.prompt(request)
    moving[1].save(path, save_all=True, append_images=moving[2:], duration=500)
    with pytest.raises(InputError, match=r"videos\[0\] changed while it was in use"):
        _ = fourth.media[0].ports
    fifth = videos.prompt(request)
    assert fifth.media[0].digest != first.media[0].digest
    faster = videos.prompt(Request(messages=[asked(video(path, fps=4), text("a"))]))
    assert faster.tokens.tolist() != fifth.tokens.tolist()


def test_text_that_spells_a_video_is_text(videos: HFProcessor) -> None:
    spelled = "<|vision_start|><|video_pad|><|vision_end|>"
    prompt = videos.prompt(Request(spelled, videos=[frames(2, 96, 64)]))
    assert len(prompt.media) == 1
    assert prompt.tokens.tolist().count(videos._codec.id_of("<|video_pad|>")) == 6


def test_settings_of_the_processor(folder: Path) -> None:
    def steps(**settings: Any) -> list[list[int]]:
        processor = HFProcessor(HFProcessor.Settings(folder=folder, **settings))
        messages = [asked(video(frames(20), fps=5))]
        return (
            processor.prompt(Request(messages=messages)).media[0].ports["image_grid_thw"].tolist()
        )

    assert len(steps()) == 4
    assert len(steps(video_fps=5.0)) == 10
    assert len(steps(video_max_frames=4)) == 2
    assert steps(video_max_pixels=8 * 32 * 32) == [[1, 2, 2]] * 4
    with pytest.raises(InputError, match="20 frames, more than the limit of 19"):
        steps(frame_limit=19)
    with pytest.raises(InputError, match=r"videos\[0\] has|content\[0\]\[0\] has 64 x 48 pixels"):
        steps(pixel_limit=64 * 48 - 1)


# What is refused


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("a", videos="clip.mp4"), r"videos is a list, also for one: videos=\[...\]"),
        (Request("a", videos=["none.mp4"]), r"videos\[0\] \(none.mp4\): there is no such file"),
        (
            Request(messages=[asked(text("a"))], videos=[[]]),
            "videos beside messages have no place; give each as a part of a message: "
            '{"type": "video", "video": ...}',
        ),
        (
            Request(messages=[asked(text("a"), video([]))]),
            r"messages\[0\].content\[1\]: a video without frames",
        ),
        (
            Request(messages=[asked({**video([]), "rate": 2})]),
            "a part of type 'video' holds exactly type and video, and may hold fps",
        ),
        (Request(messages=[asked(video([], fps=0))]), r"content\[0\].fps is 0; it must be frames"),
        (Request(messages=[asked(video([], fps=True))]), r"content\[0\].fps is True"),
        (Request(messages=[asked(video([], fps=float("nan")))]), r"content\[0\].fps is nan"),
    ],
)
def test_requests_that_are_refused(videos: HFProcessor, request_: Request, message: str) -> None:
    with pytest.raises(InputError, match=message):
        videos.prompt(request_)


def test_a_folder_without_a_video_processor_takes_none(processor: HFProcessor) -> None:
    with pytest.raises(
        InputError, match=r"takes no videos .*has no video_preprocessor_config\.json"
    ):
        processor.prompt(Request("a", videos=[frames(2)]))


def test_other_families_of_video_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    config = {**VIDEO_CONFIG, "video_processor_type": "Qwen2VLVideoProcessor"}
    (other / "video_preprocessor_config.json").write_text(json.dumps(config))
    processor = HFProcessor(HFProcessor.Settings(folder=other))
    with pytest.raises(InputError, match="of type 'Qwen2VLVideoProcessor'; known: Qwen3VLVideo"):
        processor.prompt(Request("a", videos=[frames(2)]))


def test_a_template_without_a_place_for_videos_is_told(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    shutil.copy(trained / "chat_template.jinja", other)
    processor = HFProcessor(HFProcessor.Settings(folder=other))
    with pytest.raises(
        InputError, match=r"wrote 0 video placeholders for 1 videos; it may not take"
    ):
        processor.prompt(Request("a", videos=[frames(2)]))


def test_the_built_in_model_says_that_it_takes_no_videos() -> None:
    import triptych

    pipeline = Path(triptych.__file__).parent / "models" / "sketch" / "pipeline"
    processor = HFProcessor(HFProcessor.Settings(folder=pipeline))
    with pytest.raises(InputError, match=r"videos\[0\]: this model takes no videos"):
        processor.prompt(Request("a", videos=[frames(2)]))
