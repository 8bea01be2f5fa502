"""Exports Qwen3-VL checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint, Weight
from triptych.export.comparison import Compared
from triptych.export.precision import Precision
from triptych.export.qwen3_vl.config import TextConfig, read_config
from triptych.export.qwen3_vl.decoder import decoder
from triptych.export.qwen3_vl.embeddings import embeddings
from triptych.export.qwen3_vl.vision import vision_encoder
from triptych.export.qwen3_vl.weights import Weights

HEAD = "lm_head.weight"


class Qwen3VLExporter:
    """The dense Qwen3-VL models, of any size."""

    stages: ClassVar[Sequence[tuple[str, str | None]]] = (
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
    def comparisons(
        cls, folder: Path, checkpoint: Checkpoint, precision: Precision
    ) -> Iterable[Compared]:
        """Every stage on the inputs that transformers gives it, then greedy decoding."""
        from triptych.export.qwen3_vl.comparisons import comparisons

        return comparisons(folder, checkpoint, precision)

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        self._precision = precision
        place = str(checkpoint.folder / "config.json")
        self._vision, self._text = read_config(checkpoint.config, place)
        self._visual = Weights(checkpoint, "model.visual")
        self._language = Weights(checkpoint, "model.language_model")
        shape = self._text.vocabulary, self._text.hidden
        self._table = self._language.get("embed_tokens.weight", *shape)
        self._head = _head(checkpoint, self._text, self._table)

    def graphs(self) -> Iterator[tuple[str, ir.Model]]:
        """The vision encoder, the embeddings, the decoder."""
        yield "vision_encoder.onnx", vision_encoder(self._vision, self._visual, self._precision)
        yield "embeddings.onnx", embeddings(self._table, self._precision)
        layers = len(self._vision.deepstack_after)
        yield (
            "decoder.onnx",
            decoder(self._text, self._language, self._head, self._precision, deepstack=layers),
        )


def _head(checkpoint: Checkpoint, config: TextConfig, table: Weight) -> Weight:
    return table if config.tied else checkpoint.weight(HEAD, (config.vocabulary, config.hidden))
