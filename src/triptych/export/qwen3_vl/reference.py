"""Qwen3-VL as transformers runs it: what an export is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from triptych.core.ports import Array
from triptych.export.verification.patches import PatchReference


class Qwen3VLReference(PatchReference):
    """The dense models."""

    architecture = "Qwen3VLForConditionalGeneration"

    def vision(self, media: Mapping[str, Array]) -> Mapping[str, Array]:
        """`image_features` f32 [N, H] and `deepstack_features` f32 [K, N, H]."""
        found = self.features(media)
        features = torch.cat(list(found.pooler_output)).numpy()
        layers = [torch.cat(list(layer)).numpy() for layer in found.deepstack_features]
        stacked = np.stack(layers) if layers else np.zeros((0, *features.shape), np.float32)
        return {"image_features": features, "deepstack_features": stacked}

    def fused(self, given: Mapping[str, Any]) -> Mapping[str, Array]:
        """`deepstack_embeds` f32 [K, 1, S, H]: zeros, but for the tokens of pictures."""
        layers, at = given.get("deepstack_visual_embeds"), given.get("visual_pos_masks")
        if not layers or at is None:
            return {}
        rows = given["inputs_embeds"]
        spread = torch.zeros(len(layers), *rows.shape)
        for layer, values in enumerate(layers):
            spread[layer][at] = values
        return {"deepstack_embeds": spread.numpy()}
