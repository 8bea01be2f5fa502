"""Pictures to ports: what an image processor makes of an upright RGB picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from triptych.core.errors import InputError
from triptych.core.ports import Array, Port
from triptych.plugins.processors.expansion import Expansion

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageError(InputError):
    """A picture that cannot be used; the message names it, the cause and the remedy."""


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
