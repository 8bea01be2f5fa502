"""Patches: bit for bit what transformers computes, on every size and setting."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.core.errors import InputError, TriptychError
from triptych.plugins.processors.expansion import Rows
from triptych.plugins.processors.folder import ProcessorError
from triptych.plugins.processors.image_ports import Bounds
from triptych.plugins.processors.patches import PatchImages

CONFIG = {
    "size": {"shortest_edge": 64 * 64, "longest_edge": 448 * 448},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "patch_size": 16,
}
SIZES = [
    (64, 64),
    (1, 1),
    (31, 33),
    (16, 48),
    (79, 80),
    (640, 480),
    (447, 449),
    (3, 600),
    (2000, 30),
    (1000, 1000),
]
CONFIGS = {
    "qwen3-vl": CONFIG,
    "defaults of transformers": {},
    "pixels beside the size": {**CONFIG, "min_pixels": 10_000, "max_pixels": 20_000},
    "other filter and factor": {**CONFIG, "resample": 2, "rescale_factor": 0.01},
    "no scaling": {**CONFIG, "do_rescale": False},
    "no normalising": {**CONFIG, "do_normalize": False},
    "larger rows": {**CONFIG, "merge_size": 4, "temporal_patch_size": 3, "patch_size": 8},
    "settings left empty": {**CONFIG, "min_pixels": None, "image_std": None},
}


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 10_000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def computed(images: PatchImages, image: Image.Image) -> tuple[int, dict[str, Any]]:
    measured = images.measure(image, "images[0]")
    [rows] = measured.expansion.pieces
    assert isinstance(rows, Rows)
    return rows.count, dict(measured.compute())


@pytest.fixture(scope="module")
def reference() -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    def compute(config: dict[str, Any], image: Image.Image, **settings: Any) -> Any:
        known = {name: value for name, value in config.items() if value is not None}
        processor = Qwen2VLImageProcessorPil(**json.loads(json.dumps(known)), **settings)
        return processor(images=[image], return_tensors="np")

    return compute


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_ports_are_those_of_transformers(
    reference: Any, config: dict[str, Any], size: tuple[int, int]
) -> None:
    image = noise(*size)
    if max(size) > 200 * min(size):
        pytest.skip("too oblong")
    rows, ports = computed(PatchImages(config, Bounds(), "here"), image)
    wanted = reference(config, image)
    np.testing.assert_array_equal(ports["pixel_values"], wanted["pixel_values"], strict=True)
    np.testing.assert_array_equal(ports["image_grid_thw"], wanted["image_grid_thw"], strict=True)
    assert rows == wanted["image_grid_thw"].prod() // config.get("merge_size", 2) ** 2


@pytest.mark.parametrize("bounds", [Bounds(max_pixels=8192), Bounds(min_pixels=100_000)], ids=str)
def test_bounds_override_the_folder(reference: Any, bounds: Bounds) -> None:
    image = noise(200, 150)
    size = dict(CONFIG["size"])  # type: ignore[call-overload]
    if bounds.min_pixels:
        size["shortest_edge"] = bounds.min_pixels
    if bounds.max_pixels:
        size["longest_edge"] = bounds.max_pixels
    _, ports = computed(PatchImages(CONFIG, bounds, "here"), image)
    wanted = reference({**CONFIG, "size": size}, image)
    np.testing.assert_array_equal(ports["pixel_values"], wanted["pixel_values"])


def test_pixels_stay_within_the_bounds() -> None:
    images = PatchImages(CONFIG, Bounds(), "here")
    for size in SIZES:
        _, ports = computed(images, noise(*size))
        assert 64 * 64 <= math.prod(ports["image_grid_thw"][0]) * 16 * 16 <= 448 * 448


def test_a_patch_is_channel_time_row_column() -> None:
    """Two by two patches of one merged row; the second patch is the one to the right."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[3, 16 + 5, 1] = 255
    config = {**CONFIG, "size": {"shortest_edge": 1, "longest_edge": 10**6}}
    _, ports = computed(PatchImages(config, Bounds(), "here"), Image.fromarray(pixels))
    values = ports["pixel_values"].reshape(4, 3, 2, 16, 16)
    assert np.argwhere(values == 1).tolist() == [[1, 1, 0, 3, 5], [1, 1, 1, 3, 5]]


def test_an_oblong_picture_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"images\[0\] has 3000 x 10 pixels; one side may be at"):
        PatchImages(CONFIG, Bounds(), "here").measure(noise(3000, 10), "images[0]")


def test_without_resizing_sides_must_fit(reference: Any) -> None:
    config = {**CONFIG, "do_resize": False}
    images = PatchImages(config, Bounds(), "here")
    _, ports = computed(images, noise(96, 64))
    wanted = reference(config, noise(96, 64))
    np.testing.assert_array_equal(ports["pixel_values"], wanted["pixel_values"])
    with pytest.raises(InputError, match="make both sides multiples of 32"):
        images.measure(noise(96, 60), "images[0]")


@pytest.mark.parametrize(
    ("config", "bounds", "message"),
    [
        ({"patch_size": "sixteen"}, Bounds(), "patch_size"),
        ({"patch_size": 0}, Bounds(), "patch_size"),
        ({"size": {"height": 224, "width": 224}}, Bounds(), "bounded from below and above"),
        (CONFIG, Bounds(min_pixels=10**7), "not from 10000000 to 200704"),
    ],
)
def test_broken_settings_are_refused(config: dict[str, Any], bounds: Bounds, message: str) -> None:
    with pytest.raises(ProcessorError, match=message):
        PatchImages(config, bounds, "model")


def test_other_families_go_through_transformers(folder: Path, load: Any) -> None:
    """GLM-4.1V resizes by its own rule; its grid tells the rows."""
    from transformers import AutoImageProcessor

    config = {**CONFIG, "image_processor_type": "Glm4vImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    from triptych.core.request import Request

    image = noise(200, 150)
    media = load(folder).prompt(Request(text="a", images=[image])).media[0]
    own = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    wanted = own(images=[image], return_tensors="np")
    np.testing.assert_array_equal(media.ports["pixel_values"], wanted["pixel_values"])
    assert len(media.at) == wanted["image_grid_thw"].prod() // 4


def test_families_without_a_grid_are_refused(folder: Path, load: Any) -> None:
    from triptych.core.request import Request

    config = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(TriptychError, match="no image_grid_thw that tells how many tokens"):
        load(folder).prompt(Request(text="a", images=[noise(64, 64)]))
