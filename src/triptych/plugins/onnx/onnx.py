"""`onnx`: any graph, on input or on each span."""

from __future__ import annotations

from typing import Literal

from triptych.core.config import settings
from triptych.core.graphs.onnx_stage import OnnxStage
from triptych.core.paths import FilePath
from triptych.core.ports import When


class Onnx(OnnxStage):
    """A graph whose inputs and outputs are its ports.

    Names and axes that differ from the pipeline's are corrected beside it::

        - onnx: {graph: sharpen.onnx, when: input}
          ports: {x: pixel_values, y: {port: pixel_values, axes: [patches, 1536]}}
    """

    class Settings(settings.Settings):
        """graph: the ONNX file. when: `input` (once on what enters) or `span` (each slice)."""

        graph: FilePath
        when: Literal["input", "span"]

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.graph, when=When(settings.when))
