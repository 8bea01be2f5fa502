"""The graphs of an export, driven by hand: ONNX Runtime sessions and one KV buffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from triptych.core.graphs.session import session_options
from triptych.core.stages import Runtime

Array = np.ndarray[Any, Any]


class Graphs:
    """Sessions over the graphs in a folder; that of a text model has no vision encoder."""

    def __init__(self, folder: Path) -> None:
        # On the pool of the process: once a pipeline has made it, no session has its own.
        options = session_options(Runtime())
        self._sessions = {
            name: onnxruntime.InferenceSession(
                folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"]
            )
            for name in ("vision_encoder", "embeddings", "decoder")
            if (folder / f"{name}.onnx").is_file()
        }

    def vision(self, pixels: Array, grids: Array) -> tuple[Array, ...]:
        """Image features [N, H] and, from a model that has them, DeepStack features [K, N, H]."""
        feeds = {"pixel_values": pixels, "image_grid_thw": grids}
        return tuple(self._sessions["vision_encoder"].run(None, feeds))

    def embed(self, ids: Array) -> Array:
        """Rows [B, S, H] for ids [B, S]."""
        return self._sessions["embeddings"].run(None, {"input_ids": ids})[0]

    def cache(self, rows: int = 1, capacity: int = 256) -> Cache:
        return Cache(self._sessions["decoder"], rows, capacity)


class Cache:
    """A KV buffer of `rows` sequences, bound as past and present at once."""

    def __init__(self, session: onnxruntime.InferenceSession, rows: int, capacity: int) -> None:
        self._session = session
        inputs = {port.name: port for port in session.get_inputs()}
        self.buffers = {
            name: np.zeros([rows, port.shape[1], capacity, port.shape[3]], np.float32)
            for name, port in inputs.items()
            if name.startswith("past_key_values")
        }
        self._deepstack = inputs.get("deepstack_embeds")

    def forward(
        self,
        embeds: Array,
        positions: Array,
        lengths: list[int],
        *,
        deepstack: Array | None = None,
        wanted: list[list[int]] | None = None,
        total: int | None = None,
        rows: slice = slice(None),
    ) -> Array:
        """Logits [B, R, V] of the wanted rows (default: the last).

        lengths: tokens of each row after this call. rows: which of the buffer's rows take part.
        """
        batch, new, _ = embeds.shape
        width = total or max(lengths)
        mask = np.zeros([batch, width], np.int64)
        for row, length in enumerate(lengths):
            mask[row, :length] = 1
        index = np.array(wanted or [[new - 1]] * batch, np.int64)
        binding = self._session.io_binding()
        feeds = {
            "inputs_embeds": embeds,
            "attention_mask": mask,
            "position_ids": positions,
            "logit_index": index,
        }
        if self._deepstack is not None:
            depth, *_, hidden = self._deepstack.shape
            nothing = np.zeros([depth, 1, 1, hidden], np.float32)
            feeds["deepstack_embeds"] = nothing if deepstack is None else deepstack
        for name, value in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        binding.bind_output("logits")
        for name, buffer in self.buffers.items():
            view = buffer[rows]
            place = ("cpu", 0, np.float32, view.shape, view.ctypes.data)
            binding.bind_input(name, *place)
            binding.bind_output(name.replace("past_key_values", "present"), *place)
        self._session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()
