"""Files that people have: every mode, format and shape that a picture may come in."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
"""EXIF's tag of how a camera was held."""


def noise(width: int, height: int, *channels: int, bits: int = 8) -> Any:
    """Smooth noise, so that rounding in a resize shows: [height, width, *channels]."""
    rng = np.random.default_rng(width * 10_000 + height)
    coarse = rng.integers(0, 2**bits, (height // 4 + 1, width // 4 + 1, *channels))
    fine = coarse.repeat(4, 0).repeat(4, 1)[:height, :width]
    return fine.astype(np.uint8 if bits == 8 else np.uint16)


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def colours(width: int, height: int) -> Image.Image:
    return Image.fromarray(noise(width, height, 3))


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(colours(90, 50), "JPEG", exif=exif)


def palette(clear: bool) -> bytes:
    image = colours(70, 90).quantize(16)
    return saved(image, transparency=3) if clear else saved(image)


# Sides around the halves and the wholes of merged rows (32 pixels), where rounding decides.
SIDES = (1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 79, 80, 81, 112)
SHAPES = [
    *((side, 64) for side in SIDES),
    *((64, side) for side in SIDES),
    (1, 1),
    (1, 200),
    (600, 3),
    (447, 449),
    (448, 448),
    (63, 65),
    (2000, 1500),
    (3200, 2400),
]
"""Width and height. The folder's bounds are 64 x 64 and 448 x 448 pixels."""

PLAIN: dict[str, bytes] = {
    "gray": saved(Image.fromarray(noise(50, 70))),
    "black and white": saved(Image.fromarray(noise(50, 70)).convert("1")),
    "palette": palette(clear=False),
    "cmyk": saved(colours(80, 60).convert("CMYK"), "JPEG"),
    "ycbcr tiff": saved(colours(80, 60).convert("YCbCr"), "TIFF", compression="jpeg"),
    "progressive": saved(colours(300, 200), "JPEG", progressive=True, quality=60),
    "without subsampling": saved(colours(300, 200), "JPEG", subsampling=0),
    "lossy webp": saved(colours(120, 100), "WEBP", quality=70),
    "bmp": saved(colours(33, 35), "BMP"),
    "moving gif": saved(
        colours(60, 40), "GIF", save_all=True, append_images=[Image.new("RGB", (60, 40), "red")]
    ),
    **{f"held as {turn}": rotated(turn) for turn in range(1, 9)},
    "a colour profile": saved(colours(64, 64), icc_profile=b"not a profile"),
}
"""Files that transformers opens in the same way."""


def over_white(image: Image.Image) -> Image.Image:
    """What shows of a transparent picture on white paper, by arithmetic."""
    rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    mixed = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return Image.fromarray(mixed.astype(np.uint8))


def _transparent() -> dict[str, tuple[bytes, Image.Image]]:
    rgba = Image.fromarray(noise(66, 70, 4))
    gray = Image.fromarray(noise(66, 70, 2), "LA")
    indexed = palette(clear=True)
    read = Image.open(BytesIO(indexed))
    return {
        "rgba": (saved(rgba), over_white(rgba)),
        "gray with alpha": (saved(gray), over_white(gray)),
        "palette with a clear colour": (indexed, over_white(read)),
    }


TRANSPARENT = _transparent()
"""Files and what is shown of them, where transformers would show what the clear parts hide."""

DEEP = noise(60, 80, bits=16)
"""Sixteen bits a pixel, which transformers would clip at 255."""
