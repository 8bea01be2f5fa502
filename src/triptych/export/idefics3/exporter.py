"""Exports Idefics3 and SmolVLM checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint, read_json
from triptych.export.exporter import StageItem
from triptych.export.graphs.decoder import decoder
from triptych.export.graphs.embeddings import embeddings
from triptych.export.graphs.head import head
from triptych.export.graphs.weights import Weights
from triptych.export.idefics3.config import read_config
from triptych.export.idefics3.vision import vision_encoder
from triptych.export.precision import Precision

if TYPE_CHECKING:
    from triptych.export.verification.reference import Reference
    from triptych.export.verification.reference import Weights as ReferenceWeights

MODEL_TYPES = ("idefics3", "smolvlm")
ARCHITECTURES = ("Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration")


class Idefics3Exporter:
    """Idefics3, SmolVLM and SmolVLM2, of any size. Of SmolVLM2 pictures, not videos."""

    stages: ClassVar[Sequence[StageItem]] = (
        ("vision_encoder", "vision_encoder.onnx"),
        ("positions", None),
        ("embeddings", "embeddings.onnx"),
        ("merge", {"deepstack": False}),
        ("decoder", "decoder.onnx"),
    )

    @classmethod
    def accepts(cls, config: Mapping[str, Any]) -> bool:
        """By the model_type, or by the name of the class."""
        named = set(config.get("architectures") or ())
        return config.get("model_type") in MODEL_TYPES or not named.isdisjoint(ARCHITECTURES)

    @classmethod
    def reference(cls, folder: Path, weights: ReferenceWeights) -> Reference:
        """The checkpoint in transformers."""
        from triptych.export.idefics3.reference import reference

        return reference(folder, weights)

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        self._precision = precision
        place = str(checkpoint.folder / "config.json")
        self._config = read_config(checkpoint.config, place, tile=_tile(checkpoint))
        self._encoder = Weights(checkpoint, "model.vision_model")
        self._connector = Weights(checkpoint, "model.connector")
        self._language = Weights(checkpoint, "model.text_model")
        text = self._config.text
        self._table = self._language.get("embed_tokens.weight", text.vocabulary, text.hidden)
        self._head = head(checkpoint, self._table, tied=self._config.tied)

    def graphs(self) -> Iterator[tuple[str, ir.Model]]:
        """The vision encoder, the embeddings, the decoder."""
        precision = self._precision
        yield (
            "vision_encoder.onnx",
            vision_encoder(self._config.vision, self._encoder, self._connector, precision),
        )
        yield "embeddings.onnx", embeddings(self._table, precision)
        yield (
            "decoder.onnx",
            decoder(self._config.text, self._language, self._head, precision),
        )


def _tile(checkpoint: Checkpoint) -> int | None:
    """Pixels of a tile's side, if the checkpoint comes with an image processor that says so."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        path = checkpoint.optional_file(name)
        settings = read_json(path) if path is not None else {}
        if name == "processor_config.json":
            settings = settings.get("image_processor") or {}
        size = settings.get("max_image_size")
        side = size.get("longest_edge") if isinstance(size, Mapping) else None
        if isinstance(side, int) and not isinstance(side, bool) and side > 0:
            return side
    return None
