"""`decoder`: embeddings to logits, with a key/value cache."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, PositiveInt

from triptych.core.config import settings
from triptych.core.config.settings import CacheItem
from triptych.core.graphs.cache_pairs import CacheForm, CacheTensors
from triptych.core.graphs.host_inputs import HostInputs
from triptych.core.graphs.onnx_stage import OnnxStage
from triptych.core.paths import FilePath
from triptych.core.ports import Array, When


class Decoder(OnnxStage):
    """A graph from `inputs_embeds` f32 [B, S, H] to `logits` f32 [B, R, V] at `logit_index`.

    Its past and present tensors are one buffer, extended in place, or grow with each run
    (`cache_form`). Without images in the slice, `deepstack_embeds` [K, B, S, H] is zeros.

    Graphs made elsewhere may take `input_ids`, give the logits of all tokens [B, S, V], and ask
    for `num_logits_to_keep`, `use_cache_branch`, or the lengths of past and total.
    """

    class Settings(settings.Settings):
        """graph: the ONNX file. cache: what its key/value cache keeps.

        cache_form: whether past and present are one buffer (`shared`) or present tensors are new
        and longer (`growing`); `auto`: shared where the graph names both lengths alike.
        kv_heads, head_size: the axes of past tensors, where the graph has no numbers for them.
        past_names: the name of the present tensor for each past one, as in
        `{k_in.%d: k_out.%d}`, where they have none of the usual names.
        """

        graph: FilePath
        cache: CacheItem = Field(default="full", validate_default=True)
        cache_form: CacheForm = "auto"
        kv_heads: PositiveInt | None = None
        head_size: PositiveInt | None = None
        past_names: dict[str, str] = Field(default_factory=dict)

    def __init__(self, settings: Settings) -> None:
        """Raises GraphFileError and CacheFormError."""
        tensors = CacheTensors(
            settings.cache_form, settings.kv_heads, settings.head_size, settings.past_names
        )
        super().__init__(
            settings.graph, when=When.SPAN, absent={"deepstack_embeds": 0.0}, cache=tensors
        )
        self.cache = settings.cache
        self._host = HostInputs(self.graph.inputs)
        if self._host:
            self._require_lengths("it asks for lengths")
            self.reads = self._host.reads(self.reads)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run one slice."""
        if self._host:
            ports = self._host.answered(ports, *self.lengths(ports))
        return super().__call__(ports)
