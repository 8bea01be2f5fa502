"""The processor of any Hugging Face folder."""

from __future__ import annotations

from triptych.plugins.processors.chat_processor import ChatProcessor
from triptych.plugins.processors.folder import ModelFolder
from triptych.plugins.processors.image_ports import Bounds, ImagePorts
from triptych.plugins.processors.processor_settings import ProcessorSettings
from triptych.plugins.processors.text import TOKENIZER, TextCodec, read_codec


class HFProcessor(ChatProcessor):
    """The parts that are computed here, and where there is none, transformers' own.

    transformers is imported only for those: tokenizers without ``tokenizer.json``, and image
    processors other than Qwen's and Idefics3's. Raises ProcessorError.
    """

    Settings = ProcessorSettings

    def __init__(self, settings: ProcessorSettings) -> None:
        folder = ModelFolder(settings.folder)
        images = _image_ports(folder, Bounds(settings.min_pixels, settings.max_pixels))
        super().__init__(settings, folder, _codec(folder), images)


def _codec(folder: ModelFolder) -> TextCodec:
    if (folder.path / TOKENIZER).is_file():
        return read_codec(folder)
    from triptych.plugins.processors.foreign_tokenizer import foreign_codec

    return foreign_codec(folder)


def _image_ports(folder: ModelFolder, bounds: Bounds) -> ImagePorts | None:
    """What computes the folder's pictures, or None when it takes none."""
    config = folder.image_config
    if not config:
        return None
    from triptych.plugins.processors import foreign, patches, tiles

    kind = config.get("image_processor_type")
    if kind in patches.TYPES:
        return patches.PatchImages(config, bounds, str(folder.path))
    if kind in tiles.TYPES:
        return tiles.TileImages(folder, bounds)
    return foreign.ForeignImages(folder, bounds)
