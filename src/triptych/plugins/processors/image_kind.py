"""Images as a kind of media."""

from __future__ import annotations

from triptych.core.prompt import digest_of
from triptych.plugins.processors.conversation import MediaSource
from triptych.plugins.processors.image_ports import ImagePorts
from triptych.plugins.processors.media_kind import Opened


class ImageKind:
    """Pictures, as `ports` measures and computes them.

    placeholder: the image token's text, or None. pixel_limit: pictures of more pixels are refused.
    """

    name = "image"

    def __init__(self, ports: ImagePorts, placeholder: str | None, pixel_limit: int) -> None:
        self.placeholder = placeholder
        self.offers = ports.offers
        self._ports = ports
        self._pixel_limit = pixel_limit

    def open(self, source: MediaSource) -> Opened:
        """Decode a picture and measure it; its ports are computed when asked for."""
        from triptych.plugins.processors.images import open_image

        image = open_image(source.value, source.place, pixel_limit=self._pixel_limit)
        measured = self._ports.measure(image, source.place)
        size = f"{image.width}x{image.height}"
        digest = digest_of(self._ports.fingerprint, size, *measured.content)
        return Opened(digest, measured.expansion, measured.compute)
