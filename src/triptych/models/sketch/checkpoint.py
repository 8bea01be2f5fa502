"""The checkpoint folder: what `transformers` loads, weights rounded to float16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import Qwen3VLForConditionalGeneration

from triptych.models.sketch.sizes import MAX_PIXELS, MERGE, MIN_PIXELS, PATCH
from triptych.models.sketch.tokenizer import END_OF_TEXT, IM_END, SPECIAL, save_tokenizer


def save_checkpoint(
    model: Qwen3VLForConditionalGeneration, tokenizer: Tokenizer, folder: Path
) -> None:
    """Write weights (float16 safetensors), configs, tokenizer and image processor settings.

    `model` is rounded in place: its float32 weights are afterwards those of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    half: Any = Qwen3VLForConditionalGeneration(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    save_processor(folder)
    eos = [SPECIAL.index(IM_END), SPECIAL.index(END_OF_TEXT)]
    pad = SPECIAL.index(END_OF_TEXT)
    generation = {"eos_token_id": eos, "pad_token_id": pad, "do_sample": False}
    _write_json(folder / "generation_config.json", generation)


def save_processor(folder: Path) -> None:
    """Write what `AutoImageProcessor.from_pretrained(folder)` reads."""
    settings = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": PATCH,
        "merge_size": MERGE,
        "temporal_patch_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
    }
    _write_json(folder / "preprocessor_config.json", settings)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def load_checkpoint(folder: Path) -> tuple[Qwen3VLForConditionalGeneration, Tokenizer]:
    """The model in float32 and its tokenizer."""
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.train(mode=False)
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))
