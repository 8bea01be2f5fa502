"""`embeddings`: token ids to vectors."""

from __future__ import annotations

from triptych.core.config import settings
from triptych.core.graphs.onnx_stage import OnnxStage
from triptych.core.paths import FilePath
from triptych.core.ports import When


class Embeddings(OnnxStage):
    """A graph from `input_ids` i64 [B, S] to `inputs_embeds` f32 [B, S, H]."""

    class Settings(settings.Settings):
        """graph: the ONNX file."""

        graph: FilePath

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.graph, when=When.SPAN)
