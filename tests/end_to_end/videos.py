"""A random Qwen3-VL with a tokenizer and processors of its own: text, pictures and videos."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

import triptych
from tests.end_to_end.models import say_no_placeholders
from tests.export.checkpoints import SHAPES, random_checkpoint
from tests.export.reference import Reference
from triptych import Request
from triptych.export import export_checkpoint

Array = np.ndarray[Any, Any]

# The last five in the order of `TinyShape.token`.
SPECIAL = [
    "<|im_start|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|im_end|>",
]
TEMPLATE = """\
{%- for message in messages -%}
  {{- '<|im_start|>' ~ message.role ~ '\n' -}}
  {%- if message.content is string -%}
    {{- message.content -}}
  {%- else -%}
    {%- for part in message.content -%}
      {%- if part.type == 'text' -%}
        {{- part.text -}}
      {%- else -%}
        {{- '<|vision_start|><|' ~ part.type ~ '_pad|><|vision_end|>' -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\n' -}}
"""
PATCHES = {
    "size": {"shortest_edge": 1024, "longest_edge": 60_000},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
}


def tokenizer() -> Tokenizer:
    """Each byte is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return made


def write_processor(folder: Path) -> Path:
    """Tokenizer, template and processors of a model's folder."""
    folder.mkdir()
    tokenizer().save(str(folder / "tokenizer.json"))
    image = {**PATCHES, "image_processor_type": "Qwen2VLImageProcessorFast"}
    video = {**PATCHES, "video_processor_type": "Qwen3VLVideoProcessor"}
    for name, data in [
        ("tokenizer_config.json", {"eos_token": "<|im_end|>"}),
        ("preprocessor_config.json", image),
        ("video_preprocessor_config.json", video),
    ]:
        (folder / name).write_text(json.dumps(data))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


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
            processor_files=write_processor(self.root / "processor"),
        )
        say_no_placeholders(self.checkpoint, self.shape)
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
