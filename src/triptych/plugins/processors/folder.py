"""A Hugging Face folder: what its JSON files say about tokens, images and lengths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from triptych.core.errors import TriptychError
from triptych.plugins.processors import genai_files

FILE_LIMIT = 16 * 2**20
"""The largest file of settings or template that is read, in bytes."""

QWEN_TOKENS = {
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
}
"""Qwen's tokens, the defaults of its processors in transformers where no file names others."""


class ProcessorError(TriptychError):
    """A processor's folder lacks something or holds something broken."""


class ModelFolder:
    """Reads the small files of one folder; a missing one is empty.

    Raises ProcessorError for a folder or a file that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise ProcessorError(
                f"{path} is not a folder; name the one that holds tokenizer.json "
                "and, for images, preprocessor_config.json"
            )

    def text(self, name: str) -> str | None:
        """A file's text, or None when there is no such file."""
        path = self.path / name
        try:
            if not path.is_file():
                return None
            if path.stat().st_size > FILE_LIMIT:
                raise ProcessorError(f"{path} is larger than {FILE_LIMIT:,} bytes")
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProcessorError(f"{path} cannot be read: {error}") from error

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file's object, empty when there is no such file."""
        text = self.text(name)
        if text is None:
            return {}
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProcessorError(f"{self.path / name} is not valid JSON: {error}") from error
        if not isinstance(value, dict):
            raise ProcessorError(f"{self.path / name} must hold a JSON object")
        return value

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``, the model's; what GenAI's file says where it stands for that."""
        return self.json("config.json") or self.genai_config

    @cached_property
    def genai_config(self) -> dict[str, Any]:
        """``genai_config.json``, in the terms of ``config.json``."""
        return genai_files.model_config(self.json("genai_config.json"))

    @cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        """``tokenizer_config.json``."""
        return self.json("tokenizer_config.json")

    @cached_property
    def processor_config(self) -> dict[str, Any]:
        """``processor_config.json``."""
        return self.json("processor_config.json")

    @cached_property
    def image_config(self) -> dict[str, Any]:
        """The image processor's settings; empty when the folder takes no images."""
        nested = self.processor_config.get("image_processor")
        if isinstance(nested, dict):
            return nested
        own = self.json("preprocessor_config.json")
        return own or genai_files.image_config(self.processor_config)

    @cached_property
    def special_tokens(self) -> dict[str, str]:
        """Special tokens by role (``eos_token``): what templates may refer to."""
        named = {**self.json("special_tokens_map.json"), **self.tokenizer_config}
        texts = {
            role: token_text(token) for role, token in named.items() if role.endswith("_token")
        }
        return {role: text for role, text in texts.items() if text is not None}

    @cached_property
    def chat_template(self) -> tuple[str, str] | None:
        """The chat template and the name of its file, or None.

        A list of named templates counts by the one called ``default``.
        """
        name = "chat_template.jinja"
        source: object = self.text(name)
        for name in () if source is not None else ("chat_template.json", "tokenizer_config.json"):
            source = self.json(name).get("chat_template")
            if source is not None:
                break
        if isinstance(source, list):
            named = {item.get("name"): item for item in source if isinstance(item, dict)}
            source = named.get("default", {}).get("template")
        if source is None:
            return None
        if not isinstance(source, str):
            raise ProcessorError(f"{self.path / name}: chat_template must be text")
        return source, name

    @cached_property
    def eos_tokens(self) -> frozenset[int | str]:
        """What ends a generation: ids, or the tokenizer's token as text."""
        generation = self.json("generation_config.json").get("eos_token_id")
        return (
            _ids(generation)
            or _ids(self.genai_config.get("eos_token_id"))
            or frozenset(filter(None, [self.special_tokens.get("eos_token")]))
            or _ids(self._from_config("eos_token_id"))
        )

    @cached_property
    def video_config(self) -> dict[str, Any]:
        """The video processor's settings; empty when the folder takes no videos."""
        nested = self.processor_config.get("video_processor")
        return nested if isinstance(nested, dict) else self.json("video_preprocessor_config.json")

    @cached_property
    def image_token(self) -> int | str:
        """The placeholder that a template writes once per image, as an id or as text."""
        return self.token("image")

    def token(self, name: str) -> int | str:
        """One of QWEN_TOKENS, as an id or as text. The placeholders are among them."""
        for key in (f"{name}_token_id", f"{name}_token_index"):
            if _is_id(self.config.get(key)):
                return int(self.config[key])
        return self.named_token(f"{name}_token") or QWEN_TOKENS[name]

    def named_token(self, role: str) -> str | None:
        """The text of the token that the processor's or the tokenizer's files call `role`."""
        extra = self.tokenizer_config.get("extra_special_tokens")
        for place in (self.processor_config, self.tokenizer_config, extra):
            found = token_text(place.get(role)) if isinstance(place, Mapping) else None
            if found is not None:
                return found
        return None

    @cached_property
    def max_context(self) -> int | None:
        """The longest sequence the model was made for, or None when no file says."""
        for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
            value = self._from_config(name)
            if _is_id(value):
                return int(value)
        return None

    def _from_config(self, name: str) -> Any:
        """A setting of the text model, which multimodal configs nest."""
        nested = self.config.get("text_config")
        if isinstance(nested, dict) and nested.get(name) is not None:
            return nested[name]
        return self.config.get(name)


def token_text(token: object) -> str | None:
    """A token's text, from text or from a saved ``AddedToken``."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _ids(value: object) -> frozenset[int | str]:
    """Ids from one id or a list; whatever else a file holds is none."""
    items = value if isinstance(value, list) else [value]
    return frozenset(item for item in items if _is_id(item))
