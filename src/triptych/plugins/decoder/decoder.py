"""`decoder`: embeddings to logits, with a key/value cache."""

from __future__ import annotations

from pydantic import Field

from triptych.core import settings
from triptych.core.onnx_stage import OnnxStage
from triptych.core.paths import FilePath
from triptych.core.ports import When
from triptych.core.settings import CacheItem


class Decoder(OnnxStage):
    """A graph from `inputs_embeds` f32 [B, S, H] to `logits` f32 [B, R, V] at `logit_index`.

    Its past and present tensors are one buffer, extended in place. Without images in the
    slice, `deepstack_embeds` [K, B, S, H] is zeros.
    """

    class Settings(settings.Settings):
        """graph: the ONNX file. cache: what its key/value cache keeps."""

        graph: FilePath
        cache: CacheItem = Field(default="full", validate_default=True)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.graph, when=When.SPAN, absent={"deepstack_embeds": 0.0})
        self.cache = settings.cache
