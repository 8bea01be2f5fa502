"""Llama 1 to 3 (arXiv 2302.13971, 2407.21783), and the many models of that shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from triptych.export.graphs.rotary_plan import rotary_plan
from triptych.export.graphs.shape import DecoderShape, head_size, read_shape
from triptych.export.section import Section
from triptych.export.text.exporter import TextExporter

if TYPE_CHECKING:
    from triptych.export.verification.reference import Reference, Weights

# transformers' default for what a config leaves out.
DEFAULT_THETA = 10_000.0


class LlamaExporter(TextExporter):
    """Llama models of any size."""

    model_type = "llama"

    @staticmethod
    def shape(config: Section) -> DecoderShape:
        """Biases as the config says: none in Llama's own, some in models that took its shape."""
        biased = config.flag("attention_bias")
        return read_shape(
            config,
            rotary_plan(config, head_size(config), theta=DEFAULT_THETA),
            qkv_bias=biased,
            out_bias=biased,
            mlp_bias=config.flag("mlp_bias"),
        )

    @classmethod
    def reference(cls, folder: Path, weights: Weights) -> Reference:
        """The checkpoint in transformers, for `triptych verify`."""
        from triptych.export.text.reference import LlamaReference

        return LlamaReference(folder, weights)
