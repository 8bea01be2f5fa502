"""References that see pictures as rows of patches with a grid: the Qwen-VL line.

Their processors offer `pixel_values` f32 [patches, values] and `image_grid_thw` i64 [images, 3].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from triptych.core.ports import Array
from triptych.core.prompt import Prompt
from triptych.export.verification.case import Case, made_up_media
from triptych.export.verification.checkpoint import TransformersReference, tensor

# Tokens of made-up text before and after each picture.
WORDS = 9
# Heights and widths in patches, by the case's name. Even numbers, as patches merge two by two.
SIZES: Mapping[str, Sequence[tuple[int, int]]] = {
    "a square picture": ((12, 12),),
    "a tall and a wide picture": ((22, 4), (6, 16)),
    "three small pictures": ((2, 2), (8, 4), (2, 10)),
}


class PatchReference(TransformersReference):
    """A model whose pictures are patches. `vision` gives `image_features` alone."""

    def vision(self, media: Mapping[str, Array]) -> Mapping[str, Array]:
        """`image_features` f32 [N, H], after merging."""
        return {"image_features": torch.cat(list(self.features(media).pooler_output)).numpy()}

    def features(self, media: Mapping[str, Array]) -> Any:
        """What `get_image_features` of the model gives for all pictures."""
        return self.model.model.get_image_features(
            tensor(media["pixel_values"]), tensor(media["image_grid_thw"])
        )

    def inputs(self, ids: Array, media: Mapping[str, Array]) -> Mapping[str, torch.Tensor]:
        """The media's ports, and which tokens stand for pictures."""
        types = (tensor(ids) == self.config.image_token_id).int()[None]
        return {**super().inputs(ids, media), "mm_token_type_ids": types}

    def made_up(self, random: np.random.Generator) -> Iterator[Case]:
        """Random words alone, then pictures of several sizes between such words."""
        yield from super().made_up(random)
        for name, sizes in SIZES.items():
            yield self._with_pictures(name, sizes, random)

    def _with_pictures(
        self, name: str, sizes: Sequence[tuple[int, int]], random: np.random.Generator
    ) -> Case:
        config, vision = self.config, self.config.vision_config
        ids = list(self.words(random, WORDS))
        media = []
        for height, width in sizes:
            merged = height * width // vision.spatial_merge_size**2
            begin = len(ids) + 1
            ports = {
                "pixel_values": _picture(height, width, vision, random),
                "image_grid_thw": np.array([[1, height, width]], np.int64),
            }
            media.append(made_up_media("image", np.arange(begin, begin + merged), ports))
            ids += [config.vision_start_token_id, *[config.image_token_id] * merged]
            ids += [config.vision_end_token_id, *self.words(random, WORDS)]
        return Case(name, Prompt(np.array(ids, np.int64), tuple(media)))


def _picture(height: int, width: int, vision: Any, random: np.random.Generator) -> Array:
    """A noisy gradient as patches, f32 [patches, values] between -1 and 1.

    Patches come as Qwen's image processor lays them out: merge x merge neighbours together.
    """
    merge, patch = vision.spatial_merge_size, vision.patch_size
    channels = getattr(vision, "in_channels", 3)
    rows = np.linspace(-1, 1, height * patch)[None, :, None]
    columns = np.linspace(1, -1, width * patch)[None, None, :]
    tilt = random.uniform(-1, 1, (channels, 1, 1))
    picture = (rows * tilt + columns * (1 - abs(tilt))) * 0.8
    picture = picture + random.uniform(-0.2, 0.2, picture.shape)
    blocks = picture.reshape(channels, height // merge, merge, patch, width // merge, merge, patch)
    patches = blocks.transpose(1, 4, 2, 5, 0, 3, 6)[:, :, :, :, :, None]
    frames = np.repeat(patches, vision.temporal_patch_size, axis=5)
    return frames.reshape(height * width, -1).astype(np.float32)
