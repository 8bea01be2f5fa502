"""A picture that was seen before is not decoded again to know which one it is."""

import os

import numpy as np
import pytest
from PIL import Image

from triptych.plugins.processors import images
from triptych.plugins.processors.conversation import MediaSource
from triptych.plugins.processors.image_kind import ImageKind
from triptych.plugins.processors.image_ports import Bounds
from triptych.plugins.processors.images import ImageError
from triptych.plugins.processors.patches import PatchImages

CONFIG = {
    "image_processor_type": "Qwen2VLImageProcessorFast",
    "patch_size": 16,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "size": {"shortest_edge": 1024, "longest_edge": 1 << 20},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


@pytest.fixture
def kind():
    return ImageKind(PatchImages(CONFIG, Bounds(), "here"), "<image>", 1 << 20)


@pytest.fixture
def decoded(monkeypatch):
    """A list that the sources of all decoded pictures join."""
    found = []
    real = images.open_image

    def watched(source, *args, **more):
        found.append(source)
        return real(source, *args, **more)

    monkeypatch.setattr(images, "open_image", watched)
    return found


def source(value):
    return MediaSource("image", value, "images[0]", None)


def save(path, seed, size=64):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_known_file_is_not_decoded_until_its_ports_are_wanted(kind, decoded, tmp_path):
    file = save(tmp_path / "a.png", 0)
    first = kind.open(source(file))
    again = kind.open(source(str(file)))
    assert (again.digest, again.expansion) == (first.digest, first.expansion)
    assert decoded == [file]
    ports, others = first.compute(), again.compute()
    assert len(decoded) == 2
    for name, value in ports.items():
        np.testing.assert_array_equal(others[name], value)


def test_a_file_is_known_by_its_content_and_by_nothing_else(kind, decoded, tmp_path):
    file, other = save(tmp_path / "a.png", 0), tmp_path / "b.png"
    other.write_bytes(file.read_bytes())
    first = kind.open(source(file))
    assert kind.open(source(other)).digest == first.digest
    assert kind.open(source(file.read_bytes())).digest == first.digest
    assert len(decoded) == 1
    stat = file.stat()
    save(file, 1)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert kind.open(source(file)).digest != first.digest


def test_what_is_computed_is_what_was_measured_though_the_file_changes(kind, tmp_path):
    file = save(tmp_path / "a.png", 0)
    first = kind.open(source(file)).compute()
    known = kind.open(source(file))
    save(file, 1, size=96)
    np.testing.assert_array_equal(known.compute()["pixel_values"], first["pixel_values"])


def test_pictures_in_memory_are_looked_at_each_time(kind, decoded, tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    first = kind.open(source(pixels)).digest
    pixels[0, 0] = 255
    assert kind.open(source(pixels)).digest != first
    assert len(decoded) == 2


def test_what_is_wrong_is_not_remembered(kind, tmp_path):
    for _ in range(2):
        with pytest.raises(ImageError, match="is not a picture"):
            kind.open(source(b"no picture"))
        with pytest.raises(ImageError, match="there is no such file"):
            kind.open(source(tmp_path / "none.png"))


def test_a_large_file_is_opened_and_not_read(kind, monkeypatch, tmp_path):
    monkeypatch.setattr(images, "LARGEST_CONTENT", 10)
    file = save(tmp_path / "a.png", 0)
    assert images.file_content(file) is None
    assert kind.open(source(file)).digest == kind.open(source(file.read_bytes())).digest
