"""A checkpoint in transformers, in float32: on most CPUs torch is slow in anything smaller."""

from __future__ import annotations

import time
from typing import Any

from .pictures import noise


class Runtime:
    """See `interface.Runtime`."""

    def __init__(self) -> None:
        self._model: Any = None
        self._processor: Any = None
        self._path = ""
        self._first: Any = None
        self._cache: Any = None

    def start(self) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        name = f"transformers (torch {torch.__version__.partition('+')[0]})"
        return {"name": name, "version": transformers.__version__}

    def open(self, path: str, *, threads: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        import torch
        import transformers

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        begin = time.perf_counter()
        config = transformers.AutoConfig.from_pretrained(path)
        pictures = hasattr(config, "vision_config")
        kind = (
            transformers.AutoModelForImageTextToText
            if pictures
            else transformers.AutoModelForCausalLM
        )
        self._path = path
        self._model = kind.from_pretrained(path, dtype=torch.float32).eval()
        text = config.get_text_config()
        return {
            "seconds": time.perf_counter() - begin,
            "max_context": text.max_position_embeddings,
            "vocabulary": text.vocab_size,
        }

    def prefill(self, tokens: list[list[int]], *, new: int) -> dict[str, Any]:  # noqa: ARG002
        """See `interface.Runtime`."""
        import torch

        self._cache = None
        ids = torch.tensor(tokens)
        begin = time.perf_counter()
        said = self._model(input_ids=ids, use_cache=True, logits_to_keep=1)
        self._first = said.logits[:, -1:].argmax(-1)
        self._cache = said.past_key_values
        return {"seconds": time.perf_counter() - begin}

    def decode(self, count: int) -> dict[str, Any]:
        """See `interface.Runtime`."""
        length = self._cache.get_seq_length()
        token = self._first
        begin = time.perf_counter()
        for _ in range(count):
            said = self._model(input_ids=token, past_key_values=self._cache, use_cache=True)
            token = said.logits[:, -1:].argmax(-1)
        seconds = time.perf_counter() - begin
        self._cache.crop(length)
        return {"seconds": seconds}

    def vision(self, *, width: int, height: int, seed: int) -> dict[str, Any]:
        """The image processor, which has torch do its work, and the encoder."""
        from PIL import Image
        from transformers import AutoImageProcessor

        if not hasattr(self._model, "get_image_features") and not hasattr(
            getattr(self._model, "model", None), "get_image_features"
        ):
            return {"unable": "the checkpoint has no image encoder"}
        if self._processor is None:
            self._processor = AutoImageProcessor.from_pretrained(self._path)
        picture = Image.fromarray(noise(width, height, seed))
        begin = time.perf_counter()
        pixels = self._processor(images=[picture], return_tensors="pt")
        self._model.get_image_features(**pixels)
        return {"seconds": time.perf_counter() - begin}
