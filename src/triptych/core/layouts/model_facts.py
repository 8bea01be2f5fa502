"""What the files beside the graphs say of the model: sizes, sampling, DeepStack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from triptych.core.layouts.genai import GenAIConfig
from triptych.core.layouts.json_files import json_object

MERGE_SIZE = 2
"""Patches per side of a visual row in all of Qwen's models so far."""


@dataclass(frozen=True)
class ModelFacts:
    """Read from `config.json` and `generation_config.json`, or from GenAI's one file."""

    folder: Path
    genai: GenAIConfig | None

    @property
    def heads(self) -> int | None:
        """How many heads a past tensor has."""
        found = self.genai and self.genai.number("decoder", "num_key_value_heads")
        return found or self._text_number("num_key_value_heads")

    @property
    def head_size(self) -> int | None:
        """How many numbers a head of a past tensor has."""
        found = self.genai and self.genai.number("decoder", "head_size")
        if found or self._text_number("head_dim"):
            return found or self._text_number("head_dim")
        hidden, heads = map(self._text_number, ("hidden_size", "num_attention_heads"))
        return hidden // heads if hidden and heads else None

    @property
    def merge_size(self) -> int:
        """Patches per side that one visual row covers."""
        found = self.genai and self.genai.number("vision_encoder", "spatial_merge_size")
        value = _section(self.config, "vision_config").get("spatial_merge_size")
        return found or (value if isinstance(value, int) and value > 0 else MERGE_SIZE)

    @property
    def has_deepstack(self) -> bool:
        """Whether the model's own vision encoder gives DeepStack layers (Qwen3-VL)."""
        kind = self.genai.kind if self.genai else str(self.config.get("model_type", ""))
        layers = _section(self.config, "vision_config").get("deepstack_visual_indexes")
        return kind.startswith("qwen3_vl") or bool(layers)

    @property
    def generation(self) -> Mapping[str, Any] | None:
        """The keys of a generation_config.json."""
        if self.genai is None:
            return json_object(self.folder / "generation_config.json")
        search = self.genai.search
        # GenAI's way of asking for the likeliest token, whatever else it says.
        return {"do_sample": False} if search.get("top_k") == 1 else search

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """``config.json``, empty where there is none."""
        return json_object(self.folder / "config.json") or {}

    def _text_number(self, name: str) -> int | None:
        text = _section(self.config, "text_config")
        value = text.get(name, self.config.get(name))
        return value if isinstance(value, int) and value > 0 else None


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}
