"""Exports Qwen3-VL-MoE checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from triptych.export.checkpoint import Checkpoint
from triptych.export.graphs.feed_forward import FeedForward
from triptych.export.precision import Precision
from triptych.export.qwen3_vl.exporter import Qwen3VLExporter
from triptych.export.qwen3_vl_moe.config import read_sparse
from triptych.export.qwen3_vl_moe.feed_forward import SparseFeedForward
from triptych.export.verification.reference import Reference
from triptych.export.verification.reference import Weights as ReferenceWeights


class Qwen3VLMoeExporter(Qwen3VLExporter):
    """The Qwen3-VL models with experts: all but the feed-forward layers is as in the dense ones."""

    routes: ClassVar[bool] = True

    @classmethod
    def accepts(cls, config: Mapping[str, Any]) -> bool:
        """By the model_type or the architecture."""
        return config.get("model_type") == "qwen3_vl_moe" or (
            "Qwen3VLMoeForConditionalGeneration" in (config.get("architectures") or ())
        )

    @classmethod
    def reference(cls, folder: Path, weights: ReferenceWeights) -> Reference:
        """The checkpoint in transformers."""
        from triptych.export.qwen3_vl_moe.reference import Qwen3VLMoeReference

        return Qwen3VLMoeReference(folder, weights)

    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        super().__init__(checkpoint, precision)
        self._sparse = read_sparse(checkpoint.config, str(checkpoint.folder / "config.json"))

    def feed_forward(self) -> FeedForward:
        """Experts, in the layers that have them."""
        return SparseFeedForward(self._config.text, self._sparse, self._precision)
