"""Prompts and pictures made up to compare two models: the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.core.ports import Array
from triptych.export.qwen3_vl.config import VisionConfig

# Tokens of made-up text before and after each picture.
WORDS = 9
# Heights and widths in patches, by the case's name. Even numbers, as patches merge two by two.
CASES: dict[str, tuple[tuple[int, int], ...]] = {
    "text only": (),
    "a square picture": ((12, 12),),
    "a tall and a wide picture": ((22, 4), (6, 16)),
    "three small pictures": ((2, 2), (8, 4), (2, 10)),
}


@dataclass(frozen=True)
class Case:
    """A prompt. ids i64 [S]; pixels f32 [patches, ...] and grids i64 [images, 3] if any."""

    name: str
    ids: Array
    pixels: Array | None
    grids: Array | None


def made_up_case(
    name: str,
    sizes: tuple[tuple[int, int], ...],
    config: VisionConfig,
    ids: Any,
    random: np.random.Generator,
) -> Case:
    """Random words, with a picture of each size between them.

    ids: the model's config in transformers, for the special tokens' ids.
    """
    special = min(ids.image_token_id, ids.video_token_id, ids.vision_start_token_id)

    def words() -> list[int]:
        return [int(word) for word in random.integers(0, special, WORDS)]

    prompt = words()
    for height, width in sizes:
        merged = [ids.image_token_id] * (height * width // config.merge**2)
        prompt += [ids.vision_start_token_id, *merged, ids.vision_end_token_id, *words()]
    if not sizes:
        return Case(name, np.array(prompt, np.int64), None, None)
    pixels = np.concatenate([_picture(height, width, config, random) for height, width in sizes])
    grids = np.array([(1, *size) for size in sizes], np.int64)
    return Case(name, np.array(prompt, np.int64), pixels, grids)


def _picture(height: int, width: int, config: VisionConfig, random: np.random.Generator) -> Array:
    """A noisy gradient as patches, f32 [patches, values] between -1 and 1.

    Patches come as Qwen's image processor lays them out: merge x merge neighbours together.
    """
    merge, patch = config.merge, config.patch
    rows = np.linspace(-1, 1, height * patch)[None, :, None]
    columns = np.linspace(1, -1, width * patch)[None, None, :]
    tilt = random.uniform(-1, 1, (config.channels, 1, 1))
    picture = (rows * tilt + columns * (1 - abs(tilt))) * 0.8
    picture = picture + random.uniform(-0.2, 0.2, picture.shape)
    blocks = picture.reshape(
        config.channels, height // merge, merge, patch, width // merge, merge, patch
    )
    patches = blocks.transpose(1, 4, 2, 5, 0, 3, 6)[:, :, :, :, :, None]
    frames = np.repeat(patches, config.temporal_patch, axis=5)
    return frames.reshape(height * width, config.patch_values).astype(np.float32)
