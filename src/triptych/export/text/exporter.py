"""What the exporters of text-only decoders have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint
from triptych.export.exporter import StageItem
from triptych.export.graphs.decoder import decoder
from triptych.export.graphs.embeddings import embeddings
from triptych.export.graphs.head import head
from triptych.export.graphs.shape import DecoderShape
from triptych.export.graphs.weights import Weights
from triptych.export.precision import Precision
from triptych.export.section import Section

# The end of the names of architectures that continue a text.
GENERATES = "ForCausalLM"


class TextExporter(ABC):
    """A family of decoders: a subclass says its `model_type` and how it reads a config."""

    model_type: ClassVar[str]

    stages: ClassVar[Sequence[StageItem]] = (
        ("positions", None),
        ("embeddings", "embeddings.onnx"),
        ("decoder", "decoder.onnx"),
    )

    @classmethod
    def accepts(cls, config: Mapping[str, Any]) -> bool:
        """By the model_type."""
        return config.get("model_type") == cls.model_type

    @staticmethod
    @abstractmethod
    def shape(config: Section) -> DecoderShape:
        """The decoder that a config.json names. Raises ModelConfigError."""

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        self._precision = precision
        config = Section(checkpoint.config, str(checkpoint.folder / "config.json"))
        architectures = config.values.get("architectures") or [GENERATES]
        if not any(str(name).endswith(GENERATES) for name in architectures):
            config.refuse("architectures", f"there is what generates text, ...{GENERATES}")
        self._shape = self.shape(config)
        self._layers = Weights(checkpoint, "model")
        self._table = self._layers.get(
            "embed_tokens.weight", self._shape.vocabulary, self._shape.hidden
        )
        self._head = head(checkpoint, self._table, tied=config.flag("tie_word_embeddings"))

    def graphs(self) -> Iterator[tuple[str, ir.Model]]:
        """The embeddings, the decoder."""
        yield "embeddings.onnx", embeddings(self._table, self._precision)
        yield "decoder.onnx", decoder(self._shape, self._layers, self._head, self._precision)
