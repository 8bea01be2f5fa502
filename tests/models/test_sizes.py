"""The project's own resize is the image processor's, to the pixel."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from transformers import AutoImageProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from triptych.models.sketch.batches import pixel_patches
from triptych.models.sketch.checkpoint import save_processor
from triptych.models.sketch.scenes import draw_shapes
from triptych.models.sketch.sizes import MAX_PIXELS, MIN_PIXELS, PLACE, places, resized


def test_sizes_after_the_resize_are_those_of_transformers() -> None:
    random = Random(0)
    for _ in range(3000):
        size = random.randint(20, 600), random.randint(20, 600)
        expected = smart_resize(*size, PLACE, MIN_PIXELS, MAX_PIXELS)
        assert resized(size) == expected, size


def test_a_picture_becomes_at_most_36_visual_tokens() -> None:
    assert places((192, 192)) == 36
    assert max(places((h, w)) for h in range(64, 449, 8) for w in range(64, 449, 8)) == 36
    assert places((64, 64)) == 4


@pytest.mark.parametrize("size", [(64, 64), (100, 131), (192, 192), (448, 70), (333, 447)])
def test_patches_are_those_of_the_image_processor(tmp_path: Path, size: tuple[int, int]) -> None:
    save_processor(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    image = draw_shapes(size, Random(1)).image
    expected = processor(images=[image], return_tensors="np")
    patches, grid = pixel_patches(image)
    assert expected["image_grid_thw"].tolist() == [[1, *grid]]
    frames = expected["pixel_values"].reshape(len(patches), 3, 2, 256)
    ours = patches.reshape(len(patches), 3, 1, 256) / 127.5 - 1.0
    assert np.abs(frames - ours).max() < 1e-5
