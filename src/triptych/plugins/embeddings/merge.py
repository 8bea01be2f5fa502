"""`merge`: visual features take the places of their tokens' embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from triptych.core.config import settings
from triptych.core.errors import InputError
from triptych.core.ports import Array, CachePair, Port, When


class Merge:
    """Scatters the slice's visual rows over the embeddings of its media tokens.

    Rewrites `inputs_embeds` [B, S, H]: token s takes row ``visual_index[s]`` of
    `image_features` [N, H]; text (-1) keeps its embedding. The DeepStack layers
    `deepstack_features` [K, N, H] are spread in the same way over `deepstack_embeds`
    [K, B, S, H], zero at text (Qwen3-VL, arXiv 2511.21631, section 2: the decoder adds layer k
    to its hidden states after its own layer k). A slice without media skips this stage.

    Graphs that have a port per layer, `deepstack_features_0` [N, H] and on, get one per layer,
    `deepstack_embeds_0` [B, S, H] and on.
    """

    class Settings(settings.Settings):
        """deepstack: whether there are DeepStack layers; a number: in as many ports, one each.

        A list: those of the layers that are added, from 0; the others, all of them where it is
        empty, are zeros. That is for ablations.
        """

        deepstack: bool | PositiveInt | list[NonNegativeInt] = True

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
        given = settings.deepstack
        self.only = given if isinstance(given, list) else None
        self.stacked = given is True or self.only is not None
        self.layers = int(given) if not isinstance(given, list) and given is not True else 0
        if self.stacked:
            self.reads += (Port("deepstack_features", "float", ("K", "N", "H")),)
            self.writes += (Port("deepstack_embeds", "float", ("K", "B", "S", "H")),)
        for layer in range(self.layers):
            self.reads += (Port(f"deepstack_features_{layer}", "float", ("N", "H")),)
            self.writes += (Port(f"deepstack_embeds_{layer}", "float", ("B", "S", "H")),)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Merge one slice."""
        embeds, index = ports["inputs_embeds"], ports["visual_index"]
        at = index >= 0
        rows = index[at]
        merged = embeds.copy()
        merged[at] = ports["image_features"][rows]
        written = {"inputs_embeds": merged}
        if self.stacked:
            layers = ports["deepstack_features"]
            spread = np.zeros((len(layers), *embeds.shape), layers.dtype)
            for layer in self._added(len(layers)):
                spread[layer, at] = layers[layer, rows]
            written["deepstack_embeds"] = spread
        for layer in range(self.layers):
            features = ports[f"deepstack_features_{layer}"]
            written[f"deepstack_embeds_{layer}"] = spread = np.zeros(embeds.shape, features.dtype)
            spread[at] = features[rows]
        return written

    def _added(self, layers: int) -> Sequence[int]:
        """Which of so many DeepStack layers are added. Raises InputError for one that is not."""
        if self.only is None:
            return range(layers)
        missing = [layer for layer in self.only if layer >= layers]
        if missing:
            raise InputError(
                f"merge: there is no DeepStack layer {missing[0]}; the model has {layers}, counted "
                "from 0"
            )
        return self.only
