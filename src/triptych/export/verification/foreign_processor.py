"""transformers' own processor of a checkpoint folder, as far as it can be loaded here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from triptych.core.ports import Array
from triptych.core.request import Request
from triptych.export.verification.reference import Processed

TEXT = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})
"""What a processor gives besides the media's ports."""

IMAGE_FILES = ("preprocessor_config.json", "processor_config.json")


class ForeignProcessor:
    """The whole processor of a folder, or its tokenizer and image processor apart.

    Some processors cannot be loaded without torchvision, though their parts can; a prompt then
    has one placeholder for each image.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, request: Request) -> Processed | None:
        """What it makes of a request; None where the folder has none that can be loaded."""
        if not request.images:
            return self._words(request)
        if self._whole is not None:
            made = self._whole.apply_chat_template(
                _parts(request, with_images=True),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="np",
            )
            return Processed(np.asarray(made["input_ids"][0], np.int64), _ports(made))
        words = self._words(request)
        if words is None or self._images is None:
            return None
        ports = _ports(self._images(images=list(request.images), return_tensors="np"))
        return Processed(words.ids, ports, placeholders_once=True)

    def _words(self, request: Request) -> Processed | None:
        tokenizer = self._tokenizer
        if tokenizer is None:
            return None
        if getattr(tokenizer, "chat_template", None) is None:
            return Processed(np.asarray(tokenizer(request.text)["input_ids"], np.int64), {})
        ids = tokenizer.apply_chat_template(
            self._messages(request),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        return Processed(np.asarray(ids, np.int64), {})

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        """In parts where the model sees; templates of text models take plain text only."""
        if any((self._folder / name).is_file() for name in IMAGE_FILES):
            return _parts(request, with_images=False)
        return [{"role": "user", "content": request.text}]

    @cached_property
    def _whole(self) -> Any:
        from transformers import AutoProcessor

        found = self._load(AutoProcessor)
        # For a folder with no processor of its own it may be no more than a tokenizer.
        return found if hasattr(found, "image_processor") else None

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return self._load(AutoTokenizer)

    @cached_property
    def _images(self) -> Any:
        from transformers import AutoImageProcessor

        return self._load(AutoImageProcessor, backend="pil")

    def _load(self, kind: Any, **more: Any) -> Any:
        try:
            return kind.from_pretrained(
                self._folder, local_files_only=True, trust_remote_code=False, **more
            )
        except Exception:  # noqa: BLE001 - a folder without one, or a package that it wants
            return None


def _parts(request: Request, *, with_images: bool) -> list[dict[str, Any]]:
    """The request as transformers' chat templates take it, its content in parts."""
    images = [
        {"type": "image", "image": image} if with_images else {"type": "image"}
        for image in request.images
    ]
    return [{"role": "user", "content": [*images, {"type": "text", "text": request.text}]}]


def _ports(made: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(value) for name, value in made.items() if name not in TEXT}
