"""Pictures of questions, small enough that a page of them opens at once."""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
from dataclasses import dataclass, field

from PIL import Image, UnidentifiedImageError

SIDE = 160
"""Pixels of the longer side."""
AS_IT_IS = 12_000
"""Bytes up to which a small PNG or JPEG is not compressed again."""
BUDGET = 2_000_000
"""Bytes of all pictures of a page, before base64 adds a third."""
KINDS = {"PNG": "image/png", "JPEG": "image/jpeg"}


@dataclass(frozen=True)
class Picture:
    """name: of its CSS class. url: ``data:...``. width, height: pixels on the page."""

    name: str
    url: str
    width: int
    height: int


@dataclass
class Pictures:
    """Those of a page, each once, up to `BUDGET`. left_out: how many were too many."""

    shown: dict[str, Picture] = field(default_factory=dict)
    spent: int = 0
    left_out: int = 0

    def add(self, data: bytes) -> Picture | None:
        """None for what is no picture, or one too many."""
        digest = hashlib.sha256(data).hexdigest()
        if digest in self.shown:
            return self.shown[digest]
        if self.spent >= BUDGET:
            self.left_out += 1
            return None
        try:
            kind, small, (width, height) = _small(data)
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
            return None
        self.spent += len(small)
        url = f"data:{kind};base64,{base64.b64encode(small).decode()}"
        picture = Picture(f"picture-{len(self.shown)}", url, width, height)
        self.shown[digest] = picture
        return picture


def _small(data: bytes) -> tuple[str, bytes, tuple[int, int]]:
    """(media type, bytes, size as shown) of a picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data), formats=tuple(KINDS))
        image.load()
    kind = KINDS[image.format or "PNG"]
    if max(image.size) <= SIDE:
        # Pictures of a few pixels are shown larger, as they are.
        grown = max(1, SIDE // max(image.size))
        shown = (image.width * grown, image.height * grown)
        if len(data) <= AS_IT_IS:
            return kind, data, shown
    else:
        image.thumbnail((SIDE, SIDE))
        shown = image.size
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=80)
    return KINDS["JPEG"], out.getvalue(), shown
