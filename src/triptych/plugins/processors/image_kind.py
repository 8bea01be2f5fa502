"""Images as a kind of media."""

from __future__ import annotations

from triptych.core.prompt import digest_of
from triptych.plugins.processors.conversation import MediaSource
from triptych.plugins.processors.expansion import Expansion
from triptych.plugins.processors.identity import Recent
from triptych.plugins.processors.image_ports import ImagePorts
from triptych.plugins.processors.media_kind import Opened

REMEMBERED = 1024
"""Files of pictures whose digest and layout are kept; some hundred bytes each."""


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
        self._recent: Recent[tuple[str, Expansion]] = Recent(REMEMBERED)

    def open(self, source: MediaSource) -> Opened:
        """Decode a picture and measure it; its ports are computed when asked for.

        A file of the same content as one before, whatever its name, is decoded again only if
        its ports are asked for again.
        """
        from triptych.plugins.processors.images import file_content

        content = file_content(source.value)
        key = None if content is None else digest_of(content)
        known = self._recent.get(key)
        if known is None:
            opened = self._read(source, content)
            self._recent.put(key, (opened.digest, opened.expansion))
            return opened
        return Opened(*known, lambda: self._read(source, content).compute())

    def _read(self, source: MediaSource, content: bytes | None) -> Opened:
        from triptych.plugins.processors.images import open_image

        image = open_image(
            source.value, source.place, pixel_limit=self._pixel_limit, content=content
        )
        measured = self._ports.measure(image, source.place)
        size = f"{image.width}x{image.height}"
        digest = digest_of(self._ports.fingerprint, size, *measured.content)
        return Opened(digest, measured.expansion, measured.compute)
