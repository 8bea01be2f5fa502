"""Qwen2 (arXiv 2407.10671) and Qwen2.5: biases on queries, keys and values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from triptych.export.graphs.rotary_plan import rotary_plan
from triptych.export.graphs.shape import DecoderShape, head_size, read_shape
from triptych.export.graphs.windows import sliding_windows
from triptych.export.section import Section
from triptych.export.text.exporter import TextExporter

if TYPE_CHECKING:
    from triptych.export.verification.reference import Reference, Weights

# transformers' defaults for what a config leaves out.
DEFAULT_THETA = 10_000.0
DEFAULT_FIRST_WINDOW = 28


class Qwen2Exporter(TextExporter):
    """The dense Qwen2 and Qwen2.5 models, of any size."""

    model_type = "qwen2"

    @staticmethod
    def shape(config: Section) -> DecoderShape:
        """The biases are the model's, not the config's."""
        return read_shape(
            config,
            rotary_plan(config, head_size(config), theta=DEFAULT_THETA),
            qkv_bias=True,
            windows=sliding_windows(config, from_layer=DEFAULT_FIRST_WINDOW),
        )

    @classmethod
    def reference(cls, folder: Path, weights: Weights) -> Reference:
        """The checkpoint in transformers, for `triptych verify`."""
        from triptych.export.text.reference import Qwen2Reference

        return Qwen2Reference(folder, weights)
