"""An exported checkpoint as a pipeline, and the same checkpoint in transformers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

import triptych
from tests.export.graphs import Graphs
from tests.export.qwen2_vl.checkpoints import MERGE, TinyVL, token, vl_checkpoint
from triptych.export import export_checkpoint

Array = np.ndarray[Any, Any]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coloured noise, smooth enough to survive a resize."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height))


@dataclass
class VLModel:
    """A random checkpoint of `shape`, in `root`."""

    shape: TinyVL
    root: Path

    def __post_init__(self) -> None:
        self.checkpoint = vl_checkpoint(self.root / "checkpoint", self.shape)
        self.folder = export_checkpoint(self.checkpoint, self.root / "export")

    @cached_property
    def pipe(self) -> Any:
        return triptych.load(self.folder)

    @cached_property
    def graphs(self) -> Graphs:
        return Graphs(self.folder)

    @cached_property
    def model(self) -> Any:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            self.checkpoint, dtype=torch.float32
        )
        return loaded.eval()

    @cached_property
    def tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.checkpoint)

    @cached_property
    def image_processor(self) -> Any:
        return AutoImageProcessor.from_pretrained(self.checkpoint, backend="pil")

    def inputs(
        self, messages: list[dict[str, Any]], images: list[Image.Image]
    ) -> dict[str, torch.Tensor]:
        """What transformers makes of a conversation: each placeholder as often as it has rows."""
        ids = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        if not images:
            return self.of_ids(np.array(ids))
        made = self.image_processor(images=images, return_tensors="np")
        grids = iter(made["image_grid_thw"])
        spread: list[int] = []
        for one in ids:
            rows = next(grids).prod() // MERGE**2 if one == token("image_pad") else 1
            spread += [one] * int(rows)
        return self.of_ids(np.array(spread), made["pixel_values"], made["image_grid_thw"])

    def of_ids(
        self, ids: Array, pixels: Array | None = None, grids: Array | None = None
    ) -> dict[str, torch.Tensor]:
        """The inputs of the model of transformers."""
        given = torch.tensor(ids)[None]
        inputs = {"input_ids": given, "attention_mask": torch.ones_like(given)}
        if pixels is not None and grids is not None:
            inputs["pixel_values"] = torch.tensor(pixels)
            inputs["image_grid_thw"] = torch.tensor(grids)
            inputs["mm_token_type_ids"] = (given == token("image_pad")).int()
        return inputs

    @torch.no_grad()
    def features(self, pixels: Array, grids: Array) -> Array:
        """By transformers: the rows of all images, [N, H]."""
        found = self.model.model.get_image_features(torch.tensor(pixels), torch.tensor(grids))
        rows: Array = torch.cat(list(found.pooler_output)).numpy()
        return rows

    @torch.no_grad()
    def positions(self, inputs: dict[str, torch.Tensor]) -> tuple[Array, int]:
        """By transformers: [3, S], and the position of what follows."""
        ids = inputs["input_ids"]
        types = (ids == token("image_pad")).int()
        grids = inputs.get("image_grid_thw")
        places, delta = self.model.model.get_rope_index(ids, types, grids)
        return places[:, 0].numpy(), int(delta) + ids.shape[1]

    @torch.no_grad()
    def logits(self, inputs: dict[str, torch.Tensor]) -> Array:
        """By transformers: of every token, [S, V]."""
        self.forget()
        rows: Array = self.model(**inputs).logits[0].numpy()
        return rows

    def greedy(self, inputs: dict[str, torch.Tensor], steps: int) -> tuple[int, ...]:
        """By transformers: the tokens of its own greedy generation."""
        self.forget()
        out = self.model.generate(
            **inputs,
            max_new_tokens=steps,
            min_new_tokens=steps,
            do_sample=False,
            eos_token_id=None,
        )
        return tuple(out[0, inputs["input_ids"].shape[1] :].tolist())

    def forget(self) -> None:
        """Forget how far an earlier prompt's images moved the positions."""
        self.model.model.rope_deltas = None
