"""The checkpoint run by transformers, in float32. The only file here that needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen3VLForConditionalGeneration
from transformers.utils import logging as transformers_logging

from triptych.core.ports import Array
from triptych.export.precision import Precision


class Reference:
    """The model of a checkpoint, its weights rounded as an export of that precision stores them."""

    def __init__(self, folder: Path, precision: Precision) -> None:
        with _quiet():
            model: Any = Qwen3VLForConditionalGeneration.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
        self._model = model.eval()
        for name, parameter in self._model.named_parameters():
            rounded = precision.rounded(name, parameter.detach().numpy())
            parameter.data.copy_(torch.from_numpy(rounded))
        self.config = self._model.config

    @torch.no_grad()
    def vision(self, pixels: Array, grids: Array) -> tuple[Array, Array]:
        """Image features f32 [N, H] and DeepStack features f32 [K, N, H]."""
        found = self._model.model.get_image_features(_tensor(pixels), _tensor(grids))
        features = torch.cat(list(found.pooler_output)).numpy()
        layers = [torch.cat(list(layer)).numpy() for layer in found.deepstack_features]
        return features, np.stack(layers) if layers else np.zeros((0, *features.shape), np.float32)

    @torch.no_grad()
    def embed(self, ids: Array) -> Array:
        """Rows f32 [B, S, H] for ids i64 [B, S]."""
        rows: Array = self._model.get_input_embeddings()(_tensor(ids)).numpy()
        return rows

    def positions(self, ids: Array, grids: Array | None) -> Array:
        """Three positions for each token of a prompt, i64 [3, 1, S]; ids i64 [S]."""
        types = (_tensor(ids) == self.config.image_token_id).int()[None]
        grid = None if grids is None else _tensor(grids)
        found, _ = self._model.model.get_rope_index(_tensor(ids)[None], types, grid)
        places: Array = found.numpy()
        return places

    @torch.no_grad()
    def logits(
        self, ids: Array, pixels: Array | None, grids: Array | None, steps: int
    ) -> tuple[Array, Array, Array]:
        """A prompt and `steps` greedy tokens after it.

        Returns the prompt's logits f32 [S, V], the logits that chose each token after the first
        f32 [steps - 1, V], and the tokens i64 [steps].
        """
        places = _tensor(self.positions(ids, grids))
        media = (
            {}
            if pixels is None or grids is None
            else {
                "pixel_values": _tensor(pixels),
                "image_grid_thw": _tensor(grids),
            }
        )
        out = self._model(
            input_ids=_tensor(ids)[None], position_ids=places, use_cache=True, **media
        )
        prompt = out.logits[0].numpy()
        rows, tokens = [], [int(prompt[-1].argmax())]
        free = int(places.max()) + 1
        while len(tokens) < steps:
            place = torch.full((3, 1, 1), free + len(tokens) - 1)
            out = self._model(
                input_ids=torch.tensor([[tokens[-1]]]),
                position_ids=place,
                past_key_values=out.past_key_values,
                use_cache=True,
            )
            rows.append(out.logits[0, -1].numpy())
            tokens.append(int(rows[-1].argmax()))
        return prompt, np.stack(rows), np.array(tokens, np.int64)


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and notes on loading."""
    logging: Any = transformers_logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
