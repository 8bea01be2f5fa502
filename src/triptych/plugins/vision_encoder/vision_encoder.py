"""`vision_encoder`: images to features, once on input."""

from __future__ import annotations

from triptych.core.config import settings
from triptych.core.graphs.onnx_stage import OnnxStage
from triptych.core.paths import FilePath
from triptych.core.ports import When


class VisionEncoder(OnnxStage):
    """A graph that reads ports of media alone.

    For Qwen3-VL: `pixel_values` f32 [patches, features] and `image_grid_thw` i64 [images, 3]
    become `image_features` f32 [N, H] and `deepstack_features` f32 [K, N, H]. For Idefics3:
    `pixel_values` f32 [tiles, 3, side, side] become `image_features`.
    """

    class Settings(settings.Settings):
        """graph: the ONNX file."""

        graph: FilePath

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.graph, when=When.INPUT)
