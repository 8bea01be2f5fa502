"""Exports Qwen3-VL checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint
from triptych.export.exporter import StageItem
from triptych.export.graphs.decoder import decoder
from triptych.export.graphs.embeddings import embeddings
from triptych.export.graphs.feed_forward import FeedForward
from triptych.export.graphs.head import head
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Precision
from triptych.export.qwen3_vl.config import read_config
from triptych.export.qwen3_vl.vision import vision_encoder
from triptych.export.verification.reference import Reference
from triptych.export.verification.reference import Weights as ReferenceWeights


class Qwen3VLExporter:
    """The dense Qwen3-VL models, of any size."""

    stages: ClassVar[Sequence[StageItem]] = (
        ("vision_encoder", "vision_encoder.onnx"),
        ("mrope", None),
        ("embeddings", "embeddings.onnx"),
        ("merge", None),
        ("decoder", "decoder.onnx"),
    )

    @classmethod
    def accepts(cls, config: Mapping[str, Any]) -> bool:
        """By the model_type; a mixture of experts has another."""
        return config.get("model_type") == "qwen3_vl" or "Qwen3VLForConditionalGeneration" in (
            config.get("architectures") or ()
        )

    @classmethod
    def reference(cls, folder: Path, weights: ReferenceWeights) -> Reference:
        """The checkpoint in transformers."""
        from triptych.export.qwen3_vl.reference import Qwen3VLReference

        return Qwen3VLReference(folder, weights)

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        self._precision = precision
        place = str(checkpoint.folder / "config.json")
        self._config = read_config(checkpoint.config, place)
        self._visual = Weights(checkpoint, "model.visual")
        self._language = Weights(checkpoint, "model.language_model")
        text = self._config.text
        self._table = self._language.get("embed_tokens.weight", text.vocabulary, text.hidden)
        self._head = head(checkpoint, self._table, tied=self._config.tied)

    def graphs(self) -> Iterator[tuple[str, ir.Model]]:
        """The vision encoder, the embeddings, the decoder."""
        vision = vision_encoder(self._config.vision, self._visual, self._precision)
        yield "vision_encoder.onnx", vision
        yield "embeddings.onnx", embeddings(self._table, self._precision)
        yield (
            "decoder.onnx",
            decoder(
                self._config.text,
                self._language,
                self._head,
                self._precision,
                feed_forward=self.feed_forward(),
            ),
        )

    def feed_forward(self) -> FeedForward | None:
        """What layers have after attention, where that is not SwiGLU."""
        return None
