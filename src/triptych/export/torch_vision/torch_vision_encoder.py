"""`torch_vision_encoder`: the vision encoder of a checkpoint as transformers runs it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from triptych.core.config import settings
from triptych.core.paths import FilePath
from triptych.core.ports import Array, CachePair, Port, When
from triptych.core.stages import Runtime
from triptych.export import MissingExtra

PREFIX = "model.visual."
"""Where the encoder's tensors are in a checkpoint."""


class TorchVisionEncoder:
    """Qwen3-VL's vision encoder in float32, from a checkpoint folder.

    It has the ports of the exported graph, so that one may stand in the other's place:
    `pixel_values` f32 [patches, values] and `image_grid_thw` i64 [images, 3] become
    `image_features` f32 [N, H] and `deepstack_features` f32 [K, N, H].

    Needs torch: `pip install 'triptych[export]'`; loading raises MissingExtra without it, and
    CheckpointError for a checkpoint that is not whole.
    """

    class Settings(settings.Settings):
        """checkpoint: the folder of the checkpoint."""

        checkpoint: FilePath

    when = When.INPUT
    whole = False
    cache_pairs: tuple[CachePair, ...] = ()

    def __init__(self, settings: Settings) -> None:
        checkpoint = _needed("triptych.export.checkpoint")
        config = _needed("triptych.export.qwen3_vl.config")
        self._checkpoint = checkpoint.Checkpoint(settings.checkpoint)
        place = str(settings.checkpoint / "config.json")
        vision = config.read_vision(self._checkpoint.config, place)
        hidden, self._layers = vision.out_hidden, len(vision.deepstack_after)
        self.reads = (
            Port("pixel_values", "float32", ("patches", vision.patch_values)),
            Port("image_grid_thw", "int64", ("images", 3)),
        )
        self.writes: tuple[Port, ...] = (
            Port("image_features", "float32", ("N", hidden)),
            Port("deepstack_features", "float32", (self._layers, "N", hidden)),
        )
        self._model: Any = None

    def load(self, runtime: Runtime) -> None:
        """Read the encoder's weights; the rest of the checkpoint stays on the disk."""
        del runtime
        torch = _needed("torch")
        qwen = _needed("transformers.models.qwen3_vl.modeling_qwen3_vl")
        kind = qwen.Qwen3VLVisionModel
        model = kind(kind.config_class(**self._checkpoint.config["vision_config"]))
        weights = {
            name: torch.from_numpy(
                self._checkpoint.weight(PREFIX + name, tuple(value.shape)).read().astype(np.float32)
            )
            for name, value in model.state_dict().items()
        }
        model.load_state_dict(weights)
        self._model = model.float().train(mode=False)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        """Encode all images."""
        torch = _needed("torch")
        with torch.inference_mode():
            found = self._model(
                torch.tensor(ports["pixel_values"]), grid_thw=torch.tensor(ports["image_grid_thw"])
            )
        features: Array = found.pooler_output.numpy()
        deep = np.zeros((self._layers, *features.shape), np.float32)
        for layer, values in enumerate(found.deepstack_features):
            deep[layer] = values.numpy()
        return {"image_features": features, "deepstack_features": deep}


def _needed(module: str) -> Any:
    """A module of the extra. Raises MissingExtra, which says how to get it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"torch_vision_encoder needs {missing.name}, which is not installed: "
            "pip install 'triptych[export]'."
        ) from missing
