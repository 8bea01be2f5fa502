"""Random checkpoints of Qwen3-VL that read text, pictures and videos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

import triptych
from tests.conftest import SPECIAL, write_byte_processor
from tests.export.checkpoints import SHAPES, TinyShape, random_checkpoint
from tests.export.reference import Reference
from triptych import Request
from triptych.export import export_checkpoint

Array = np.ndarray[Any, Any]


def say_no_specials(checkpoint: Path, shape: TinyShape) -> None:
    """Make the end of a turn unlikely, and placeholders, which transformers takes for media.

    Only a head of its own can be changed so.
    """
    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    if "lm_head.weight" in weights:
        weights["lm_head.weight"][shape.token("image") :] = 0
        save_file(weights, file)


@dataclass
class VideoModel:
    """A random checkpoint of a shape, its export, and both as running models."""

    shape_name: str
    root: Path

    def __post_init__(self) -> None:
        self.shape = replace(SHAPES[self.shape_name], vocabulary=256 + len(SPECIAL))
        self.checkpoint = random_checkpoint(
            self.root / "checkpoint",
            shape=self.shape,
            processor_files=write_byte_processor(self.root / "processor"),
        )
        say_no_specials(self.checkpoint, self.shape)
        self.folder = export_checkpoint(self.checkpoint, self.root / "export")

    def load(self, **changes: Any) -> triptych.Pipeline:
        """A new pipeline; changes: keywords of `triptych.load`."""
        return triptych.load(self.folder, **changes)

    @cached_property
    def pipe(self) -> triptych.Pipeline:
        return self.load()

    @cached_property
    def model(self) -> Any:
        return Reference(self.checkpoint).model

    def inputs(self, request: Request) -> dict[str, Any]:
        """The same prompt for transformers: the t rows of a clip are one (t, height, width)."""
        import torch

        prompt = self.pipe.processor.prompt(request)
        ids = torch.tensor(prompt.tokens)[None]
        kinds = torch.zeros_like(ids)
        found: dict[str, list[Array]] = {}
        for item in prompt.media:
            grid = item.ports["image_grid_thw"]
            number, pixels, name = {
                "image": (1, "pixel_values", "image_grid_thw"),
                "video": (2, "pixel_values_videos", "video_grid_thw"),
            }[item.kind]
            kinds[0, item.at] = number
            found.setdefault(pixels, []).append(item.ports["pixel_values"])
            found.setdefault(name, []).append(np.array([[len(grid), *grid[0, 1:]]]))
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": kinds,
            **{name: torch.tensor(np.concatenate(parts)) for name, parts in found.items()},
        }

    def greedy(self, request: Request, steps: int) -> tuple[int, ...]:
        """By transformers: the tokens of greedy decoding, up to the end of the turn."""
        inputs = self.inputs(request)
        end = self.shape.token("eos")
        out = self.model.generate(
            **inputs, max_new_tokens=steps, do_sample=False, eos_token_id=end, pad_token_id=end
        )
        said = out[0, inputs["input_ids"].shape[1] :].tolist()
        return tuple(said[:-1] if said[-1] == end else said)
