"""`merge`: visual features take the places of their tokens' embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from triptych.core import settings
from triptych.core.ports import Array, CachePair, Port, When


class Merge:
    """Scatters the slice's visual rows over the embeddings of its media tokens.

    Rewrites `inputs_embeds` [B, S, H]: token s takes row ``visual_index[s]`` of
    `image_features` [N, H]; text (-1) keeps its embedding. The DeepStack layers
    `deepstack_features` [K, N, H] are spread in the same way over `deepstack_embeds`
    [K, B, S, H], zero at text (Qwen3-VL, arXiv 2511.21631, section 2: the decoder adds layer k
    to its hidden states after its own layer k). A slice without media skips this stage.
    """

    class Settings(settings.Settings):
        """deepstack: whether the vision encoder writes DeepStack layers."""

        deepstack: bool = True

    when = When.SPAN
    whole = False
    cache_pairs: tuple[CachePair, ...] = ()

    def __init__(self, settings: Settings) -> None:
        embeds = Port("inputs_embeds", "float", ("B", "S", "H"))
        self.reads: tuple[Port, ...] = (
            embeds,
            Port("visual_index", "int64", ("B", "S")),
            Port("image_features", "float", ("N", "H")),
        )
        self.writes: tuple[Port, ...] = (embeds,)
        if settings.deepstack:
            self.reads += (Port("deepstack_features", "float", ("K", "N", "H")),)
            self.writes += (Port("deepstack_embeds", "float", ("K", "B", "S", "H")),)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Merge one slice."""
        embeds, index = ports["inputs_embeds"], ports["visual_index"]
        at = index >= 0
        rows = index[at]
        merged = embeds.copy()
        merged[at] = ports["image_features"][rows]
        written = {"inputs_embeds": merged}
        if "deepstack_features" in ports:
            layers = ports["deepstack_features"]
            spread = np.zeros((len(layers), *embeds.shape), layers.dtype)
            spread[:, at] = layers[:, rows]
            written["deepstack_embeds"] = spread
        return written
