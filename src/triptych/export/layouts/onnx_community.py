"""The folder that transformers.js 4 reads, as those of onnx-community on the Hugging Face hub.

Its graphs lie in `onnx/`, their names ending in how their weights are stored. A text model is one
graph; a model with a vision encoder is three, and the host merges the image's rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint
from triptych.export.layouts.files import write_json
from triptych.export.layouts.layout import LayoutError
from triptych.export.layouts.ports import Ports

# What a file of each precision ends in, and what transformers.js calls that.
SUFFIXES = {"fp32": "", "fp16": "_fp16", "int8": "_int8", "int4": "_q4"}
DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "int8", "int4": "q4"}
TEXT = ("qwen3", "qwen2", "llama")
# What the vision encoder's second input is called, which differs by model.
GRIDS = {
    "qwen2_vl": "grid_thw",
    "qwen2_5_vl": "image_grid_thw",
    "qwen3_vl": "image_grid_thw",
    "qwen3_vl_moe": "image_grid_thw",
}
# Keys of a whole model's config.
NOT_TEXT = ("architectures", "vision_config", "transformers.js_config")


class OnnxCommunity:
    """Text models, and Qwen's models with a vision encoder."""

    below: ClassVar[str] = "onnx"
    data: ClassVar[str] = "_data"
    apart: ClassVar[bool] = True

    def __init__(self, checkpoint: Checkpoint, precision: str, *, drop_deepstack: bool) -> None:
        self._checkpoint = checkpoint
        self._suffix = SUFFIXES.get(precision, "")
        self._dtype = DTYPES.get(precision, "fp32")
        self._drops = drop_deepstack
        self._kind = str(checkpoint.config.get("model_type"))
        if self._kind not in (*TEXT, *GRIDS):
            raise LayoutError(
                f"{checkpoint.folder}: the layout 'onnx-community' is written for "
                f"{', '.join((*TEXT, *GRIDS))}, and this is a {self._kind}."
            )

    def graphs(self, graphs: Mapping[str, ir.Model]) -> dict[str, ir.Model]:
        """One graph for a text model; the encoder, the table and the decoder for another."""
        decoder = graphs["decoder.onnx"]
        ports = Ports(decoder)
        if self._kind in TEXT:
            ports.fuse(graphs["embeddings.onnx"], "inputs_embeds")
            ports.logits_of_last("input_ids")
            ports.rename_axes()
            return {self._file("model"): decoder}
        self._take_deepstack_out(ports, Ports(graphs["vision_encoder.onnx"]))
        ports.logits_of_last("inputs_embeds")
        grid = Ports(graphs["vision_encoder.onnx"]).input("image_grid_thw")
        grid.name = GRIDS[self._kind]
        for graph in graphs.values():
            Ports(graph).rename_axes()
        return {
            self._file("vision_encoder"): graphs["vision_encoder.onnx"],
            self._file("embed_tokens"): graphs["embeddings.onnx"],
            self._file("decoder_model_merged"): decoder,
        }

    def finish(self, folder: Path) -> None:
        """config.json says how the files are read."""
        counts: dict[str, int] = {}
        for path in sorted((folder / self.below).glob(f"*.onnx{self.data}*")):
            graph = path.name.partition(self.data)[0]
            counts[graph] = counts.get(graph, 0) + 1
        settings: dict[str, Any] = {"dtype": self._dtype, "use_external_data_format": counts}
        config = {**self._checkpoint.config, "transformers.js_config": settings}
        if self._kind in GRIDS and "text_config" not in config:
            # As it was published, a config of Qwen2-VL has the decoder's keys beside all others.
            text = {key: value for key, value in config.items() if key not in NOT_TEXT}
            config["text_config"] = {**text, "model_type": f"{self._kind}_text"}
        write_json(folder / "config.json", config)

    def _file(self, stem: str) -> str:
        return f"{stem}{self._suffix}.onnx"

    def _take_deepstack_out(self, decoder: Ports, vision: Ports) -> None:
        if "deepstack_embeds" not in decoder.inputs:
            return
        if not self._drops:
            raise LayoutError(
                f"{self._checkpoint.folder}: transformers.js has no place for DeepStack, so its "
                f"answers about images would differ from the model's. Export with "
                f"--drop-deepstack if that will do, or with the layout 'triptych'."
            )
        layers, width = decoder.sizes("deepstack_embeds")
        decoder.without("deepstack_embeds", [layers, 1, 1, width])
        vision.graph.outputs.remove(vision.output("deepstack_features"))
