"""Qwen3 (arXiv 2505.09388): queries and keys are normalised head by head, no biases."""

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
DEFAULT_HEAD = 128
DEFAULT_THETA = 10_000.0
DEFAULT_FIRST_WINDOW = 28


class Qwen3Exporter(TextExporter):
    """The dense Qwen3 models, of any size; a mixture of experts has another model_type."""

    model_type = "qwen3"

    @staticmethod
    def shape(config: Section) -> DecoderShape:
        """One bias setting for all of attention, none in the MLP."""
        config = config.with_defaults(head_dim=DEFAULT_HEAD)
        biased = config.flag("attention_bias")
        return read_shape(
            config,
            rotary_plan(config, head_size(config), theta=DEFAULT_THETA),
            head_norms=True,
            qkv_bias=biased,
            out_bias=biased,
            windows=sliding_windows(config, from_layer=DEFAULT_FIRST_WINDOW),
        )

    @classmethod
    def reference(cls, folder: Path, weights: Weights) -> Reference:
        """The checkpoint in transformers, for `triptych verify`."""
        from triptych.export.text.reference import Qwen3Reference

        return Qwen3Reference(folder, weights)
