"""Idefics3 and SmolVLM as transformers runs them: what an export is held against."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from triptych.core.ports import Array
from triptych.core.prompt import Prompt
from triptych.export.verification.case import Case, made_up_media
from triptych.export.verification.checkpoint import TransformersReference, tensor
from triptych.export.verification.reference import Weights

# Tokens of made-up text before and after each tile.
WORDS = 5
# How many tiles each picture has, by the case's name.
TILES: Mapping[str, Sequence[int]] = {
    "a picture that was not cut": (1,),
    "a picture of three tiles": (3,),
    "pictures of two tiles, of one and of four": (2, 1, 4),
}


class TileReference(TransformersReference):
    """A model whose pictures are tiles: `pixel_values` f32 [tiles, channels, side, side]."""

    def vision(self, media: Mapping[str, Array]) -> Mapping[str, Array]:
        """`image_features` f32 [N, H], the rows of each tile one after the other."""
        found = self.model.model.get_image_features(tensor(media["pixel_values"])[None])
        return {"image_features": torch.cat(list(found.pooler_output)).numpy()}

    def inputs(self, ids: Array, media: Mapping[str, Array]) -> Mapping[str, torch.Tensor]:
        """The tiles, of one prompt."""
        del ids
        return {"pixel_values": tensor(media["pixel_values"])[None]}

    def made_up(self, random: np.random.Generator) -> Iterator[Case]:
        """Random words alone, then pictures whose tiles stand between such words."""
        yield from super().made_up(random)
        for name, tiles in TILES.items():
            yield self._with_pictures(name, tiles, random)

    def _with_pictures(self, name: str, tiles: Sequence[int], random: np.random.Generator) -> Case:
        vision, rows = self.config.vision_config, self.model.model.image_seq_len
        shape = (vision.num_channels, vision.image_size, vision.image_size)
        ids = list(self.words(random, WORDS))
        media = []
        for count in tiles:
            at: list[int] = []
            for _ in range(count):
                at += range(len(ids), len(ids) + rows)
                ids += [self.config.image_token_id] * rows
                ids += list(self.words(random, WORDS))
            pixels = random.uniform(-1, 1, (count, *shape)).astype(np.float32)
            media.append(made_up_media("image", np.array(at), {"pixel_values": pixels}))
        return Case(name, Prompt(np.array(ids, np.int64), tuple(media)))


class Idefics3Reference(TileReference):
    """An Idefics3 checkpoint."""

    architecture = "Idefics3ForConditionalGeneration"


class SmolVLMReference(TileReference):
    """A SmolVLM or SmolVLM2 checkpoint."""

    architecture = "SmolVLMForConditionalGeneration"


def reference(folder: Path, weights: Weights) -> TileReference:
    """The reference of the class that the checkpoint's config.json names."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = SmolVLMReference if config.get("model_type") == "smolvlm" else Idefics3Reference
    return kind(folder, weights)
