"""Pictures to ports: what an image processor makes of an upright RGB picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from triptych.core.dataclass import dataclass
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


@dataclass(frozen=True)
class MeasuredImage:
    """A picture as the model sees it.

    expansion: what stands for it in the prompt. content: its pixels, which together with its size
    and the image processor's fingerprint decide its ports. compute: gives these.
    """

    expansion: Expansion
    content: tuple[bytes, ...]
    compute: Callable[[], Mapping[str, Array]]


class ImagePorts(Protocol):
    """An image processor.

    offers: the ports that it computes.
    fingerprint: of everything that decides them, besides the picture.
    """

    offers: tuple[Port, ...]
    fingerprint: str

    def measure(self, image: Image, place: str) -> MeasuredImage:
        """Measure a picture, which may change or be closed afterwards.

        Raises ImageError for a picture that it cannot take.
        """
        ...
