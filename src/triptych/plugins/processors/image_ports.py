"""Pictures to ports: what a folder's image processor makes of an upright RGB picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from triptych.core.ports import Array, Port
from triptych.plugins.processors.expansion import Expansion
from triptych.plugins.processors.folder import ModelFolder

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Bounds:
    """Overrides of the pixels that a picture is resized to; None: as the folder says."""

    min_pixels: int | None = None
    max_pixels: int | None = None


class ImagePorts(Protocol):
    """An image processor.

    offers: the ports that it computes.
    fingerprint: of everything that decides them, besides the picture.
    """

    offers: tuple[Port, ...]
    fingerprint: str

    def measure(
        self, image: Image, place: str
    ) -> tuple[Expansion, Callable[[], Mapping[str, Array]]]:
        """What stands for a picture in the prompt, and what computes its ports.

        Raises ImageError for a picture that it cannot take.
        """
        ...


def image_ports(folder: ModelFolder, bounds: Bounds) -> ImagePorts | None:
    """The folder's image processor, or None when it takes no images.

    Those of Qwen and Idefics3 are computed here; any other through transformers. Raises
    ProcessorError.
    """
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
