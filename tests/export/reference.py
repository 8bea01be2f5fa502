"""The same model in transformers, in float32: where the expected values come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

Array = np.ndarray[Any, Any]


@dataclass
class Prompt:
    """Token ids [S] with placeholders for the merged tokens of each image in `grids`."""

    ids: Array
    pixels: Array | None
    grids: Array | None

    def __len__(self) -> int:
        return len(self.ids)


class Reference:
    """A checkpoint loaded by transformers."""

    def __init__(self, folder: Path) -> None:
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True
        )
        self.report = report
        self.model = model.eval()
        self.config = model.config

    def prompt(
        self, random: np.random.Generator, grids: list[tuple[int, int]], text: int
    ) -> Prompt:
        """Random words, and an image of each grid (height, width in patches) between them."""
        config = self.config
        plain = min(config.image_token_id, config.video_token_id, config.vision_start_token_id)
        ids = list(random.integers(0, plain, text))
        for height, width in grids:
            ids += [config.vision_start_token_id]
            ids += [config.image_token_id] * (height * width // 4)
            ids += [config.vision_end_token_id, *random.integers(0, plain, text)]
        if not grids:
            return Prompt(np.array(ids), None, None)
        patches = sum(height * width for height, width in grids)
        pixels = random.uniform(-1, 1, [patches, 1536]).astype(np.float32)
        return Prompt(np.array(ids), pixels, np.array([(1, *grid) for grid in grids]))

    def vision(self, pixels: Array, grids: Array) -> tuple[Array, Array]:
        """Image features [N, H] and DeepStack features [K, N, H]."""
        with torch.no_grad():
            out = self.model.model.get_image_features(torch.tensor(pixels), torch.tensor(grids))
        features = torch.cat(list(out.pooler_output))
        deepstack = torch.stack([torch.cat(list(layer)) for layer in out.deepstack_features])
        return features.numpy(), deepstack.numpy()

    def positions(self, prompt: Prompt) -> tuple[Array, int]:
        """Three positions per token [3, 1, S], and the next free one."""
        ids = torch.tensor(prompt.ids)[None]
        grids = None if prompt.grids is None else torch.tensor(prompt.grids)
        found, delta = self.model.model.get_rope_index(ids, self._types(ids), grids)
        return found.numpy(), int(delta) + len(prompt)

    def logits(self, prompt: Prompt, places: Array | None = None) -> Array:
        """Logits of every token, [S, V], in one pass; places [S] instead of the usual positions."""
        inputs = self._inputs(prompt)
        if places is not None:
            inputs["position_ids"] = torch.tensor(places).expand(3, 1, -1)
        with torch.no_grad():
            return self.model(**inputs).logits[0].numpy()

    def greedy(self, prompt: Prompt, steps: int) -> tuple[list[int], Array]:
        """The tokens of transformers' own greedy generation, and their logits [steps, V]."""
        out = self.model.generate(
            **self._inputs(prompt),
            max_new_tokens=steps,
            min_new_tokens=steps,
            do_sample=False,
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
        )
        tokens = out.sequences[0, len(prompt) :].tolist()
        return tokens, torch.cat(out.logits).numpy()

    def _inputs(self, prompt: Prompt) -> dict[str, torch.Tensor]:
        ids = torch.tensor(prompt.ids)[None]
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if prompt.pixels is not None:
            inputs["pixel_values"] = torch.tensor(prompt.pixels)
            inputs["image_grid_thw"] = torch.tensor(prompt.grids)
            inputs["mm_token_type_ids"] = self._types(ids)
        return inputs

    def _types(self, ids: torch.Tensor) -> torch.Tensor:
        return (ids == self.config.image_token_id).int()
