"""The graphs of an export, run by hand: what the runtime's stages do, without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from triptych.core.errors import TriptychError
from triptych.core.graph import Graph
from triptych.core.ports import Array
from triptych.core.stages import Runtime
from triptych.export.graphs.shape import DecoderShape


class MismatchError(TriptychError):
    """An export and a checkpoint of different models."""


class ExportedGraphs:
    """The three graphs, and one sequence in the decoder's cache."""

    def __init__(self, folder: Path, config: DecoderShape, *, room: int) -> None:
        """Loads the graphs. `room`: tokens that may follow a prompt. Raises MismatchError."""
        self._vision, self._embed, self._decoder = (
            Graph(folder / f"{name}.onnx") for name in ("vision_encoder", "embeddings", "decoder")
        )
        ports = {port.name: port for port in self._decoder.inputs}
        width = ports["inputs_embeds"].axes[-1]
        layers = sum(name.endswith(".key") for name in ports)
        if (layers, width) != (config.layers, config.hidden):
            raise MismatchError(
                f"{self._decoder.path}: {layers} layers of width {width}, but the checkpoint has "
                f"{config.layers} of width {config.hidden}. Was it exported from another one?"
            )
        for graph in self._vision, self._embed, self._decoder:
            graph.load(Runtime())
        self._config, self._room = config, room
        deepstack = int(ports["deepstack_embeds"].axes[0])
        self.nothing = (
            np.zeros((0, config.hidden), np.float32),
            np.zeros((deepstack, 0, config.hidden), np.float32),
        )
        self._length = 0
        self._pasts: dict[str, Array] = {}

    def vision(self, pixels: Array, grids: Array) -> tuple[Array, Array]:
        """Image features f32 [N, H] and DeepStack features f32 [K, N, H]."""
        names = "image_features", "deepstack_features"
        found = self._vision.run({"pixel_values": pixels, "image_grid_thw": grids}, names)
        return found[names[0]], found[names[1]]

    def embed(self, ids: Array) -> Array:
        """Rows f32 [B, S, H] for ids i64 [B, S]."""
        rows: Array = self._embed.run({"input_ids": ids}, ["inputs_embeds"])["inputs_embeds"]
        return rows

    def prefill(
        self, rows: Array, media: Array, features: tuple[Array, Array], places: Array
    ) -> Array:
        """Begins a sequence. Logits f32 [S, V] of rows f32 [1, S, H] with features put in.

        media: bool [S], the tokens whose rows the image features replace.
        """
        image, deepstack = features
        merged = rows.copy()
        merged[0, media] = image
        spread = np.zeros((len(deepstack), *rows.shape), np.float32)
        spread[:, 0, media] = deepstack
        count = rows.shape[1]
        config = self._config
        shape = (1, config.kv_heads, count + self._room, config.head)
        self._pasts = {
            f"past_key_values.{layer}.{part}": np.zeros(shape, np.float32)
            for layer in range(config.layers)
            for part in ("key", "value")
        }
        self._length = 0
        return self._forward(merged, spread, places, np.arange(count))

    def step(self, row: Array, place: Array) -> Array:
        """Goes on with one token, row f32 [1, 1, H]. Its logits f32 [V]."""
        nothing = np.zeros((len(self.nothing[1]), 1, 1, row.shape[2]), np.float32)
        return self._forward(row, nothing, place, np.zeros(1, np.int64)).squeeze(0)

    def _forward(self, rows: Array, deepstack: Array, places: Array, wanted: Array) -> Array:
        self._length += rows.shape[1]
        feeds = {
            "inputs_embeds": rows,
            "attention_mask": np.ones((1, self._length), np.int64),
            "position_ids": places,
            "deepstack_embeds": deepstack,
            "logit_index": wanted[None],
            **self._pasts,
        }
        presents = {name: name.replace("past_key_values", "present") for name in self._pasts}
        logits: Array = self._decoder.run_in_place(feeds, presents, ["logits"])["logits"]
        return logits.squeeze(0).copy()
