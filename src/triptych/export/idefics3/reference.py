"""Idefics3 and SmolVLM as transformers runs them: what an export is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoTokenizer, Idefics3Processor

from triptych.core.ports import Array
from triptych.core.prompt import Prompt
from triptych.core.request import Request
from triptych.export.checkpoint import read_json
from triptych.export.verification.case import Case, made_up_media
from triptych.export.verification.checkpoint import TransformersReference, tensor
from triptych.export.verification.reference import Processed, Weights

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

    def processed(self, request: Request) -> Processed | None:
        """What transformers' own processor makes of a request: ids, and the tiles as one prompt's.

        SmolVLM's cannot be loaded without packages for numbers in words and for videos. Its
        parts can, and Idefics3's lays pictures out in the same way.
        """
        made = super().processed(request)
        if made is not None and made.placeholders_once:
            made = self._from_parts(request)
        if made is None or not made.ports:
            return made
        # Tiles [prompts, tiles, ...]; their mask has no padding to tell of.
        return replace(made, ports={"pixel_values": made.ports["pixel_values"][0]})

    def _from_parts(self, request: Request) -> Processed:
        tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        images: Any = AutoImageProcessor.from_pretrained(
            self.folder, local_files_only=True, backend="pil"
        )
        path = self.folder / "processor_config.json"
        settings = read_json(path) if path.is_file() else {}
        rows = {key: settings[key] for key in ("image_seq_len",) if key in settings}
        processor: Any = Idefics3Processor(images, tokenizer, **rows)
        content = [
            *[{"type": "image"}] * len(request.images),
            {"type": "text", "text": request.text},
        ]
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        made = processor(
            text=text,
            images=[list(request.images)],
            add_special_tokens=False,
            return_tensors="np",
        )
        tiles = np.asarray(made["pixel_values"])
        return Processed(np.asarray(made["input_ids"][0], np.int64), {"pixel_values": tiles})

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
    named = read_json(folder / "config.json")
    kind = SmolVLMReference if named.get("model_type") == "smolvlm" else Idefics3Reference
    return kind(folder, weights)
