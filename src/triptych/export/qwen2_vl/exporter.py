"""Exports Qwen2-VL and Qwen2.5-VL checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint
from triptych.export.exporter import StageItem
from triptych.export.graphs.decoder import decoder
from triptych.export.graphs.embeddings import embeddings
from triptych.export.graphs.head import head
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Precision
from triptych.export.qwen2_vl.config import (
    VisionShape,
    read_qwen2_5_vision,
    read_qwen2_vision,
    read_text,
    tied,
)
from triptych.export.qwen2_vl.vision import vision_encoder
from triptych.export.section import Section
from triptych.export.verification.reference import Reference
from triptych.export.verification.reference import Weights as ReferenceWeights

# Where the two halves lie: as published, and as transformers 5 names its modules.
PUBLISHED, MODULES = ("visual", "model"), ("model.visual", "model.language_model")


class _Exporter(ABC):
    """What the two have in common: all but the vision encoder."""

    model_type: ClassVar[str]

    stages: ClassVar[Sequence[StageItem]] = (
        ("vision_encoder", "vision_encoder.onnx"),
        ("mrope", None),
        ("embeddings", "embeddings.onnx"),
        ("merge", {"deepstack": False}),
        ("decoder", "decoder.onnx"),
    )

    @classmethod
    def accepts(cls, config: Mapping[str, Any]) -> bool:
        """By the model_type."""
        return config.get("model_type") == cls.model_type

    @staticmethod
    @abstractmethod
    def vision_shape(section: Section) -> VisionShape:
        """The vision encoder that a `vision_config` names. Raises ModelConfigError."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        config, place = checkpoint.config, str(checkpoint.folder / "config.json")
        self._precision = precision
        self._vision = self.vision_shape(Section(config, place, name="vision_config"))
        self._text = text = read_text(config, place)
        renamed = any(name.startswith(f"{MODULES[0]}.") for name in checkpoint)
        visual, language = MODULES if renamed else PUBLISHED
        self._visual, self._language = Weights(checkpoint, visual), Weights(checkpoint, language)
        self._table = self._language.get("embed_tokens.weight", text.vocabulary, text.hidden)
        self._head = head(checkpoint, self._table, tied=tied(config))

    def graphs(self) -> Iterator[tuple[str, ir.Model]]:
        """The vision encoder, the embeddings, the decoder."""
        vision = vision_encoder(self._vision, self._visual, self._precision)
        yield "vision_encoder.onnx", vision
        yield "embeddings.onnx", embeddings(self._table, self._precision)
        yield "decoder.onnx", decoder(self._text, self._language, self._head, self._precision)


class Qwen2VLExporter(_Exporter):
    """The Qwen2-VL models, of any size."""

    model_type = "qwen2_vl"
    vision_shape = staticmethod(read_qwen2_vision)

    @classmethod
    def reference(cls, folder: Path, weights: ReferenceWeights) -> Reference:
        """The checkpoint in transformers."""
        from triptych.export.qwen2_vl.reference import Qwen2VLReference

        return Qwen2VLReference(folder, weights)


class Qwen25VLExporter(_Exporter):
    """The Qwen2.5-VL models, of any size."""

    model_type = "qwen2_5_vl"
    vision_shape = staticmethod(read_qwen2_5_vision)

    @classmethod
    def reference(cls, folder: Path, weights: ReferenceWeights) -> Reference:
        """The checkpoint in transformers."""
        from triptych.export.qwen2_vl.reference import Qwen25VLReference

        return Qwen25VLReference(folder, weights)
