"""The folder of ONNX Runtime GenAI 0.18: one graph from ids to logits, and genai_config.json.

https://onnxruntime.ai/docs/genai/reference/config.html says what the file holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import onnx_ir as ir

from triptych.export.checkpoint import Checkpoint
from triptych.export.layouts.files import optional_json, write_json
from triptych.export.layouts.layout import LayoutError
from triptych.export.layouts.ports import PAST, Ports

CONFIG = "genai_config.json"
GRAPH = "model.onnx"
# What GenAI calls the kinds of model that it knows, by their `model_type`.
KINDS = {"qwen3": "qwen3", "qwen2": "qwen2", "llama": "llama"}
# GenAI's own values where a generation_config.json says nothing.
SEARCH: Mapping[str, Any] = {
    "diversity_penalty": 0.0,
    "do_sample": False,
    "early_stopping": True,
    "length_penalty": 1.0,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
}


class GenAI:
    """Text models: Qwen3, Qwen2 and Llama."""

    below: ClassVar[str] = ""
    data: ClassVar[str] = ".data"
    apart: ClassVar[bool] = False

    def __init__(self, checkpoint: Checkpoint, precision: str, *, drop_deepstack: bool) -> None:
        del precision, drop_deepstack
        self._checkpoint = checkpoint
        self._config = checkpoint.config
        kind = self._config.get("model_type")
        if kind not in KINDS:
            raise LayoutError(
                f"{checkpoint.folder}: the layout 'genai' is written for text models "
                f"({', '.join(KINDS)}), and this is a {kind}. Its vision encoder and DeepStack "
                f"need the layout 'triptych'."
            )
        self._sizes: list[int] = []

    def graphs(self, graphs: Mapping[str, ir.Model]) -> dict[str, ir.Model]:
        """The embeddings and the decoder as one, which scores every token."""
        model = graphs["decoder.onnx"]
        ports = Ports(model)
        ports.fuse(graphs["embeddings.onnx"], "inputs_embeds")
        ports.logits_of_all("input_ids")
        self._sizes = ports.sizes(f"{PAST}0.key")
        ports.rename_axes()
        return {GRAPH: model}

    def finish(self, folder: Path) -> None:
        """The file of GenAI, which has no use for config.json and generation_config.json."""
        write_json(folder / CONFIG, {"model": self._model(), "search": self._search()})

    def _model(self) -> dict[str, Any]:
        config, generation = self._config, self._generation
        end = generation.get("eos_token_id", config.get("eos_token_id"))
        ends = end if isinstance(end, list) else [end]
        pad = generation.get("pad_token_id", config.get("pad_token_id"))
        first = generation.get("bos_token_id", config.get("bos_token_id"))
        if not ends or ends[0] is None:
            raise LayoutError(
                f"{self._checkpoint.folder}: neither generation_config.json nor config.json has an "
                f"eos_token_id, and the layout 'genai' wants one."
            )
        heads, size = self._sizes
        return {
            "bos_token_id": first if first is not None else ends[0],
            "context_length": self._context,
            "decoder": {
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "filename": GRAPH,
                "head_size": size,
                "hidden_size": config["hidden_size"],
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "position_ids": "position_ids",
                    "past_key_names": f"{PAST}%d.key",
                    "past_value_names": f"{PAST}%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
                "num_attention_heads": config["num_attention_heads"],
                "num_hidden_layers": config["num_hidden_layers"],
                "num_key_value_heads": heads,
            },
            "eos_token_id": ends if len(ends) > 1 else ends[0],
            "pad_token_id": pad if pad is not None else ends[0],
            "type": KINDS[str(config["model_type"])],
            "vocab_size": config["vocab_size"],
        }

    def _search(self) -> dict[str, Any]:
        given = {key: self._generation[key] for key in SEARCH if key in self._generation}
        lengths = {"max_length": self._context, "past_present_share_buffer": True}
        return {**SEARCH, **given, **lengths}

    @property
    def _generation(self) -> Mapping[str, Any]:
        return optional_json(self._checkpoint, "generation_config.json")

    @property
    def _context(self) -> int:
        return int(self._config.get("max_position_embeddings", 2048))
