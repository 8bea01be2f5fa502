"""Videos of every origin give their frames and times; what is no video is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.core.errors import InputError
from triptych.plugins.processors.clips import Limits, VideoError
from triptych.plugins.processors.videos import open_video

LIMITS = Limits(frames=100, pixels=10_000)
SHADES = [0, 40, 80, 120, 160, 200]


def plain(shade: int, size: tuple[int, int] = (32, 24)) -> Image.Image:
    return Image.new("RGB", size, (shade, 0, 255 - shade))


FRAMES = [plain(shade) for shade in SHADES]


def animated(path: Path, durations: int | list[int], **settings: Any) -> Path:
    FRAMES[0].save(
        path, save_all=True, append_images=FRAMES[1:], duration=durations, loop=0, **settings
    )
    return path


def shades(source: object, indices: list[int], limits: Limits = LIMITS) -> list[int]:
    """The red of the middle of some frames; each must be one plain colour, upright."""
    with open_video(source, "videos[0]", limits) as clip:
        frames = [np.asarray(frame) for frame in clip.frames(indices)]
    assert {frame.shape for frame in frames} == {(24, 32, 3)}
    return [int(frame[12, 16, 0]) for frame in frames]


def refused(source: object, limits: Limits = LIMITS) -> str:
    with pytest.raises(InputError) as caught, open_video(source, "videos[0]", limits) as clip:
        list(clip.frames(range(clip.count)))
    return str(caught.value)


# Pictures


def saved(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for name, frame in zip(names, FRAMES, strict=False):
        frame.save(folder / name)
    return folder


def test_a_folder_is_its_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["frame10.png", "frame2.png", "frame1.png", "a1.PNG", "frame2b.bmp"]
    folder = saved(tmp_path / "clip", names)
    (folder / "notes.txt").write_text("no frame")
    (folder / ".frame0.png").write_text("hidden")
    with open_video(folder, "videos[0]", LIMITS) as clip:
        assert (clip.count, clip.timeline) == (5, None)
    assert shades(str(folder), [0, 1, 2, 3, 4]) == [120, 80, 40, 160, 0]
    assert shades(folder, [1, 4]) == [80, 0]


def test_only_the_frames_that_are_asked_for_are_opened(tmp_path: Path) -> None:
    folder = saved(tmp_path / "clip", ["1.png", "2.png", "3.png"])
    (folder / "2.png").write_bytes(b"broken")
    assert shades(folder, [0, 2]) == [0, 80]
    assert "2.png) is not a picture that can be read" in refused(folder)


def test_lists_and_arrays_are_frames(tmp_path: Path) -> None:
    FRAMES[1].save(tmp_path / "b.png")
    mixed = [
        FRAMES[0],
        tmp_path / "b.png",
        np.asarray(FRAMES[2]),
        (tmp_path / "b.png").read_bytes(),
    ]
    assert shades(mixed, [0, 1, 2, 3]) == [0, 40, 80, 40]
    assert shades(tuple(FRAMES), [5]) == [200]
    assert shades(np.stack([np.asarray(frame) for frame in FRAMES]), [0, 3]) == [0, 120]


# Animations


@pytest.mark.parametrize(
    ("name", "settings"), [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {})]
)
def test_animations_have_frames_and_times(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    path = animated(tmp_path / name, [200, 200, 200, 400, 200, 300], **settings)
    for source in (path, path.read_bytes()):
        with open_video(source, "videos[0]", LIMITS) as clip:
            assert clip.count == 6
            assert clip.timeline is not None
            assert clip.timeline.fps == pytest.approx(6 / 1.5)
            starts = [clip.timeline.at(index) for index in range(6)]
        assert starts == pytest.approx([0, 0.2, 0.4, 0.6, 1.0, 1.2])
        assert shades(source, [0, 1, 2, 3, 4, 5]) == SHADES
        assert shades(source, [1, 4]) == [40, 160]


def test_frames_of_no_duration_are_shown_as_browsers_show_them(tmp_path: Path) -> None:
    with open_video(animated(tmp_path / "a.gif", 0), "videos[0]", LIMITS) as clip:
        assert clip.timeline is not None
        assert [clip.timeline.at(1), clip.timeline.fps] == [0.1, 10]


def test_transparent_frames_show_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (32, 24), (0, 0, 0, 0))
    clear.save(tmp_path / "a.png", save_all=True, append_images=[plain(80)], duration=100)
    assert shades(tmp_path / "a.png", [0, 1]) == [255, 80]


def test_later_frames_of_a_gif_build_on_those_before_them(tmp_path: Path) -> None:
    frames = [plain(80) for _ in range(3)]
    for index, frame in enumerate(frames):
        frame.paste((0, 0, 0), (0, 0, 8, 8 * (index + 1)))
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    with open_video(path, "videos[0]", LIMITS) as clip:
        (last,) = clip.frames([2])
    np.testing.assert_array_equal(np.asarray(last), np.asarray(frames[2]))


# What is refused


def test_paths_that_lead_to_no_video(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    FRAMES[0].save(tmp_path / "a.jpg")
    FRAMES[0].save(tmp_path / "a.gif")
    for source, message in [
        (tmp_path / "none.gif", r"none.gif): there is no such file"),
        (tmp_path / "empty", "empty) is a folder without pictures; frames are files that end in"),
        (tmp_path / "a.jpg", "a.jpg) is a single picture; give it as an image, not as a video"),
        (tmp_path / "a.gif", "a.gif) is a single picture; give it as an image, not as a video"),
        ("https://example.com/a.mp4", "is an address; videos are not fetched from the network"),
        (b"hello", "videos[0] (5 bytes) is no"),
        ([], "a video without frames; give at least two pictures"),
        (FRAMES[0], "Image is not a video; give the path of a folder of pictures"),
        (7, "int is not a video"),
        ([FRAMES[0], 7], "videos[0][1]: int is not a picture"),
    ]:
        assert message in refused(source)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_a_damaged_animation_names_the_file(tmp_path: Path, name: str) -> None:
    path = animated(tmp_path / name, 100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])
    assert name in refused(path)
    assert "damaged or incomplete" in refused(path) or "broken header" in refused(path)


def test_limits_are_checked_before_frames_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = animated(tmp_path / "a.gif", 100)
    folder = saved(tmp_path / "clip", [f"{i}.png" for i in range(6)])

    def fail(*_: object) -> None:
        pytest.fail("a frame was decoded")

    monkeypatch.setattr(Image.Image, "seek", fail)
    few, small = Limits(frames=5, pixels=10_000), Limits(frames=100, pixels=32 * 24 - 1)
    for source in (FRAMES, path, folder):
        assert "has 6 frames, more than the limit of 5; cut it, or raise" in refused(source, few)
    assert "frames of 32 x 24 pixels, more than the limit of 767; shrink it" in refused(path, small)
    assert "more than the limit of 767" in refused(folder, small)
    assert "more than the limit of 767" in refused(FRAMES, small)


def test_without_pyav_a_video_file_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    assert refused(tmp_path / "a.mp4").endswith(
        "a.mp4) is no animation, and video files need PyAV: pip install 'triptych[video]'"
    )


# Video files


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes SHADES as a video, ten frames a second."""
    av = pytest.importorskip("av")

    def make(
        name: str,
        codec: str = "mpeg4",
        *,
        count: int = 6,
        pixels: str = "yuv420p",
        size: tuple[int, int] = (32, 24),
        frames: list[Image.Image] = FRAMES,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            for index in range(count):
                frame = av.VideoFrame.from_image(frames[index % len(frames)].resize(size))
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "mpeg4"),
        ("a.mp4", "libx264"),
        ("a.mov", "mjpeg"),
        ("a.mkv", "mpeg4"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mpeg4"),
    ],
)
def test_video_files_have_frames_and_times(
    write: Callable[..., Path], name: str, codec: str
) -> None:
    path = write(name, codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p")
    for source in (path, path.read_bytes()):
        with open_video(source, "videos[0]", LIMITS) as clip:
            assert clip.count == 6
            assert clip.timeline is not None
            assert [clip.timeline.at(index) for index in (0, 3)] == [0, 0.3]
        np.testing.assert_allclose(shades(source, [0, 1, 2, 3, 4, 5]), SHADES, atol=12)
        np.testing.assert_allclose(shades(source, [2, 5]), [80, 200], atol=12)


def test_frames_of_a_video_file_are_those_that_transformers_reads(
    write: Callable[..., Path],
) -> None:
    from transformers.video_utils import read_video_pyav

    path = write("a.mp4", "libx264", count=25)
    chosen = [0, 7, 13, 24]
    wanted, metadata = read_video_pyav(str(path), lambda **_: np.array(chosen))
    with open_video(path, "videos[0]", LIMITS) as clip:
        assert clip.timeline is not None
        assert (clip.timeline.count, clip.timeline.fps) == (metadata.total_num_frames, metadata.fps)
        for frame, expected in zip(clip.frames(chosen), wanted, strict=True):
            np.testing.assert_array_equal(np.asarray(frame), expected)


def test_a_video_that_was_filmed_upright_stays_upright(write: Callable[..., Path]) -> None:
    """The matrix of a file says how to turn its frames: here the left comes to the top."""
    frame = plain(255)
    frame.paste((0, 0, 0), (0, 0, 16, 24))
    path = write("a.mp4", frames=[frame])
    data = path.read_bytes()
    one, turn = (1 << 16).to_bytes(4, "big"), (1 << 30).to_bytes(4, "big")
    none, minus = bytes(4), (2**32 - (1 << 16)).to_bytes(4, "big")
    level = one + none * 3 + one + none * 3 + turn
    header = data.index(b"tkhd")
    at = data.index(level, header)
    turned = none + one + none + minus + none * 4 + turn
    path.write_bytes(data[:at] + turned + data[at + len(level) :])
    with open_video(path, "videos[0]", LIMITS) as clip:
        (frame,) = clip.frames([0])
    assert frame.size == (24, 32)
    red = np.asarray(frame)[:, :, 0]
    assert red[:14].max() < 40
    assert red[-14:].min() > 200


def test_a_damaged_video_file_is_refused(write: Callable[..., Path]) -> None:
    path = write("a.mkv", count=60)
    data = path.read_bytes()
    path.write_bytes(data[:60])
    assert "not a video that can be read, or damaged" in refused(path)
    path = write("a.avi", count=60)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    message = refused(path)
    assert "a.avi) is damaged or incomplete: it has " in message
    assert "of its 60 frames; get it again" in message


def test_limits_of_video_files(write: Callable[..., Path]) -> None:
    path = write("a.mkv")
    assert "has 6 frames, more than the limit of 5" in refused(path, Limits(5, 10_000))
    assert "frames of 32 x 24 pixels, more than" in refused(path, Limits(100, 32 * 24 - 1))


def test_frames_larger_than_the_header_says_are_not_decoded(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a.mp4", size=(640, 480))
    monkeypatch.setattr(Limits, "check_size", lambda *_: None)
    with open_video(path, "videos[0]", Limits(100, 640 * 480)) as clip:
        assert [frame.size for frame in clip.frames([0, 5])] == [(640, 480)] * 2
    assert "is not a video that can be read, or damaged" in refused(path, Limits(100, 1000))


def test_files_that_name_other_files_are_refused(write: Callable[..., Path]) -> None:
    """FFmpeg would follow them, to the network, too."""
    path = write("a.ts", "mpeg2video")
    for name, text in [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\na.ts\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile a.ts\n"),
    ]:
        path.with_name(name).write_text(text)
        assert "is not a video that can be read" in refused(path.with_name(name))


def test_codecs_that_are_not_known_are_refused(write: Callable[..., Path]) -> None:
    path = write("a.mkv", "ffv1")
    assert "is written in codec 'ffv1', which is not decoded here; known: h264" in refused(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        samples = np.zeros((1, 800), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "holds no pictures, only sound or text" in refused(tmp_path / "a.mkv")


def test_errors_are_of_one_class() -> None:
    assert issubclass(VideoError, InputError)
