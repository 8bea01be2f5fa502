"""Pictures as people give them: opened, checked, and turned upright and into plain RGB."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from triptych.plugins.processors.image_ports import ImageError
from triptych.plugins.processors.local_files import LocalFile

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are read, by Pillow's names. Others have decoders that few people ever fuzzed."""
UPRIGHT = 1
"""EXIF's orientation of a picture that need not be turned."""
LARGEST_CONTENT = 64 * 2**20
"""Bytes of a file that are read at once to see whether it is known; a larger one is only opened."""
DEEP_GRAY = ("I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of 16-bit grayscale."""

_warnings_lock = Lock()


def file_content(source: object) -> bytes | None:
    """What a picture's file holds, told by its path or given as bytes.

    None for anything else, and where it is larger than `LARGEST_CONTENT` or cannot be read:
    `open_image` says why.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, (str, PathLike)):
        return None
    try:
        path = Path(fspath(source))
        known = path.is_file() and path.stat().st_size <= LARGEST_CONTENT
        return path.read_bytes() if known else None
    except (OSError, ValueError, TypeError):
        return None


def open_image(
    source: object, place: str, *, pixel_limit: int, content: bytes | None = None
) -> Image.Image:
    """A picture, upright, in mode RGB; it may be the given one itself.

    source: a path, a file's bytes, a PIL image, or a uint8 array [height, width],
        [height, width, 1], [height, width, 3] or [height, width, 4].
    place: where it stands in the request, for messages.
    pixel_limit: the most pixels it may have; checked on the header, before decoding.
    content: what the file of a path holds, where it was read before.

    Transparent parts show white. Of an animation the first frame counts. Sixteen-bit gray is
    scaled to eight bits. The orientation that a camera noted (EXIF) is applied; colour
    profiles are not. Raises ImageError.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, place, pixel_limit)
    if isinstance(source, Image.Image):
        return _decoded(source, place, pixel_limit)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_file(BytesIO(source), f"{place} ({len(source):,} bytes)", pixel_limit)
    if isinstance(source, (str, PathLike)):
        return _from_path(fspath(source), place, pixel_limit, content)
    raise ImageError(
        f"{place}: {type(source).__name__} is not a picture; give a path, a file's bytes, "
        "a PIL image, or a uint8 array [height, width, 3]"
    )


def _from_path(
    name: str | bytes, place: str, pixel_limit: int, content: bytes | None
) -> Image.Image:
    found = LocalFile(name, place, things="pictures", error=ImageError)
    if found.is_folder:
        raise ImageError(f"{found.named} is a folder; name a picture in it")
    if content is not None:
        return _from_file(BytesIO(content), found.named, pixel_limit)
    try:
        with found.path.open("rb") as file:
            return _from_file(file, found.named, pixel_limit)
    except (OSError, ValueError) as error:
        raise found.unreadable(error) from error


def _from_file(file: IO[bytes], named: str, pixel_limit: int) -> Image.Image:
    try:
        with quiet():
            image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{named} is too large to decode: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{named} is not a picture that can be read; known formats: {', '.join(FORMATS)}"
        ) from error
    except Exception as error:  # Decoders raise nearly anything on broken files.
        raise ImageError(f"{named} has a broken header: {error}") from error
    return _decoded(image, named, pixel_limit)


def _from_array(array: npt.NDArray[Any], place: str, pixel_limit: int) -> Image.Image:
    if array.dtype != np.uint8:
        raise ImageError(
            f"{place}: an array of {array.dtype} has no agreed range; scale it to 0..255 and "
            "convert it, as in (array * 255).round().astype(numpy.uint8)"
        )
    array = _shaped(array, place)
    _check_size(array.shape[1], array.shape[0], place, pixel_limit)
    return _rgb(Image.fromarray(np.ascontiguousarray(array)), place)


def _shaped(array: npt.NDArray[Any], place: str) -> npt.NDArray[Any]:
    """The array as Pillow wants it: [height, width], or with 3 or 4 channels last."""
    match array.shape:
        case (_, _, 1):
            return array[:, :, 0]
        case (_, _) | (_, _, 3 | 4):
            return array
        case (1 | 3 | 4, _, _):
            remedy = "; channels come last, as in array.transpose(1, 2, 0)"
        case _:
            remedy = ""
    raise ImageError(
        f"{place}: an array of shape {list(array.shape)} is not a picture; known: "
        f"[height, width], [height, width, 3], [height, width, 4]{remedy}"
    )


def _decoded(image: Image.Image, named: str, pixel_limit: int) -> Image.Image:
    """Decode an opened picture, whose header is checked first."""
    _check_size(image.width, image.height, named, pixel_limit)
    try:
        image.load()
    except Exception as error:  # As above.
        raise ImageError(
            f"{named} is damaged or incomplete: {error}; get it again, or save it anew"
        ) from error
    return _rgb(_upright(image), named)


def _check_size(width: int, height: int, named: str, pixel_limit: int) -> None:
    if width * height > pixel_limit:
        raise ImageError(
            f"{named} has {width} x {height} pixels, more than the limit of {pixel_limit:,}; "
            "shrink it, or raise processor.pixel_limit"
        )
    if width * height == 0:
        raise ImageError(f"{named} has no pixels")


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data says; as it is when they cannot be read."""
    try:
        # A picture that stands upright would be copied.
        turned = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) != UPRIGHT
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:  # noqa: BLE001 - parsers of damaged EXIF data raise nearly anything
        return image


def _rgb(image: Image.Image, named: str) -> Image.Image:
    """Eight-bit RGB, transparency over white."""
    if image.mode in DEEP_GRAY:
        return _from_deep_gray(image)
    if image.mode in ("I", "F"):
        raise ImageError(
            f"{named} holds 32-bit numbers (mode {image.mode}), whose range is not known; "
            "convert it to 8 or 16 bits"
        )
    try:
        if not image.has_transparency_data:
            return image if image.mode == "RGB" else image.convert("RGB")
        # Pillow turns premultiplied gray (La) into nothing but gray with alpha.
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"{named} has colours of mode {image.mode}, which cannot be converted to RGB; "
            "save it as RGB"
        ) from error


def _from_deep_gray(image: Image.Image) -> Image.Image:
    """Sixteen bits to eight by value / 257, rounded. Pillow itself would clip or cut them."""
    values = np.asarray(image).astype(np.uint32)
    gray = ((values * 255 + 32767) // 65535).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        gray[values == clear] = 255
    return Image.fromarray(gray).convert("RGB")


@contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warning about large pictures, whose limit is checked here.

    Python's list of warning filters belongs to the process, hence one at a time.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield
