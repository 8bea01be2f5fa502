"""The processor of Qwen's folders, which never imports transformers."""

from __future__ import annotations

from pathlib import Path

from triptych.plugins.processors import patches
from triptych.plugins.processors.chat_processor import ChatProcessor
from triptych.plugins.processors.folder import ModelFolder, ProcessorError
from triptych.plugins.processors.image_ports import Bounds
from triptych.plugins.processors.processor_settings import ProcessorSettings
from triptych.plugins.processors.text import TOKENIZER, read_codec

MODEL_TYPES = (
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
)
"""What ``config.json`` calls the models that are served; the last four only read."""


class QwenVLProcessor(ChatProcessor):
    """Text by tokenizers, templates by jinja2, pictures and frames by Pillow and numpy.

    Ids and ports are those of `HFProcessor` and of transformers. Raises ProcessorError for a
    folder of another model, and for one that only transformers could read.
    """

    Settings = ProcessorSettings

    def __init__(self, settings: ProcessorSettings) -> None:
        folder = ModelFolder(settings.folder)
        reason = _refusal(folder)
        if reason is not None:
            raise ProcessorError(
                f"{folder.path} is not a folder that the processor qwen_vl knows: {reason}; "
                "write hf instead, which reads any Hugging Face folder"
            )
        images = None
        if folder.image_config:
            bounds = Bounds(settings.min_pixels, settings.max_pixels)
            images = patches.PatchImages(folder.image_config, bounds, str(folder.path))
        super().__init__(settings, folder, read_codec(folder), images)

    @classmethod
    def serves(cls, path: Path) -> bool:
        """Whether a folder is one of those. Raises ProcessorError for broken files."""
        return _refusal(ModelFolder(path)) is None


def _refusal(folder: ModelFolder) -> str | None:
    """Why a folder is not served, if it is not."""
    model = folder.config.get("model_type")
    if model not in MODEL_TYPES:
        return f"its model_type is {model!r}, and known are {', '.join(MODEL_TYPES)}"
    if not (folder.path / TOKENIZER).is_file():
        return f"it holds no {TOKENIZER}"
    images = folder.image_config.get("image_processor_type")
    if folder.image_config and images not in patches.TYPES:
        return (
            f"its image processor is of type {images!r}, and known are {', '.join(patches.TYPES)}"
        )
    return None
