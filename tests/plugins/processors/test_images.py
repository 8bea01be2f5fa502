"""Pictures: every kind comes out right, or is refused with its name and a remedy."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from triptych.core.request import Request
from triptych.plugins.processors.hf import HFProcessor
from triptych.plugins.processors.image_ports import ImageError
from triptych.plugins.processors.images import FORMATS, open_image
from triptych.plugins.processors.processor_settings import PIXEL_LIMIT

RED, GREEN, WHITE = (255, 0, 0), (0, 128, 0), (255, 255, 255)


def pixels(source: object, limit: int = PIXEL_LIMIT) -> npt.NDArray[Any]:
    image = open_image(source, "images[0]", pixel_limit=limit)
    assert image.mode == "RGB"
    return np.asarray(image)


def saved(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def halves() -> npt.NDArray[np.uint8]:
    """Red left, green right; 6 wide, 4 high."""
    array = np.zeros((4, 6, 3), np.uint8)
    array[:, :3], array[:, 3:] = RED, GREEN
    return array


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"")
    body = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunk + body


@pytest.mark.parametrize("format_", FORMATS)
def test_every_named_format_is_read(tmp_path: Path, format_: str) -> None:
    options = {"quality": 100, "lossless": True} if format_ == "WEBP" else {}
    if format_ == "JPEG":
        options = {"quality": 100, "subsampling": 0}
    data = saved(Image.fromarray(halves()), format_, **options)
    path = tmp_path / "picture"
    path.write_bytes(data)
    for source in (data, bytearray(data), path, str(path)):
        np.testing.assert_allclose(pixels(source), halves(), atol=2 if format_ == "JPEG" else 0)


def test_arrays_and_pil_images_are_read() -> None:
    array = halves()
    gray = array[:, :, 0]
    opaque = np.dstack([array, np.full(gray.shape, 255, np.uint8)])
    for source in (array, Image.fromarray(array), opaque, array[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(pixels(source), array)
    for source in (gray, gray[:, :, None], Image.fromarray(gray)):
        np.testing.assert_array_equal(pixels(source), np.dstack([gray] * 3))


def test_transparent_parts_show_white() -> None:
    array = np.dstack([halves(), np.full((4, 6), 255, np.uint8)])
    array[0, 0] = (*RED, 0)
    array[0, 1] = (*RED, 51)
    rgba = Image.fromarray(array)
    for source in (rgba, saved(rgba), array):
        shown = pixels(source)
        assert shown[0, 0].tolist() == [*WHITE]
        assert shown[0, 1].tolist() == [255, 204, 204]
        assert shown[1, 0].tolist() == [*RED]


def test_transparent_gray_and_palettes_show_white() -> None:
    gray = Image.merge("LA", [Image.new("L", (2, 1), 10), Image.new("L", (2, 1), 0)])
    assert pixels(saved(gray))[0, 0].tolist() == [*WHITE]

    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *GREEN])
    palette.putpixel((1, 0), 1)
    assert pixels(saved(palette)).tolist() == [[[*RED], [*GREEN]]]
    assert pixels(saved(palette, transparency=0)).tolist() == [[[*WHITE], [*GREEN]]]
    assert pixels(saved(palette, "GIF", transparency=0)).tolist() == [[[*WHITE], [*GREEN]]]

    assert pixels(saved(Image.new("L", (1, 1), 7), transparency=7)).tolist() == [[[*WHITE]]]
    assert pixels(saved(Image.new("RGB", (1, 1), RED), transparency=RED)).tolist() == [[[*WHITE]]]


def test_transparency_is_that_of_transformers(image_processor: Any) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (64, 96, 4), np.uint8)
    wanted = image_processor(images=[Image.fromarray(array)], return_tensors="np")
    got = image_processor(images=[Image.fromarray(pixels(array))], return_tensors="np")
    np.testing.assert_array_equal(got["pixel_values"], wanted["pixel_values"])


def test_one_bit_pictures_are_black_and_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert pixels(saved(image)).tolist() == [[[0, 0, 0], [*WHITE]]]


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(format_: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    shown = pixels(saved(Image.fromarray(deep), format_))
    assert shown[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]
    assert (shown == shown[:, :, :1]).all()


def test_sixteen_bits_in_the_other_byte_order_are_scaled() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257, 65535))
    assert pixels(image)[0, :, 0].tolist() == [1, 255]


def test_transparent_sixteen_bits_show_white() -> None:
    data = saved(Image.fromarray(np.array([[5, 500]], np.uint16)), transparency=5)
    assert pixels(data)[0, :, 0].tolist() == [255, 2]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="whose range is not known; convert it to 8 or 16 bits"):
        pixels(Image.new(mode, (2, 2)))
    with pytest.raises(ImageError, match="whose range is not known"):
        pixels(saved(Image.new(mode, (2, 2)), "TIFF"))


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(format_: str) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    np.testing.assert_allclose(pixels(saved(image, format_))[8, 8], RED, atol=3)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX", "RGBa", "La", "PA"])
def test_other_modes_become_rgb(mode: str) -> None:
    white = {"RGBa": "RGBA", "La": "LA"}.get(mode, "RGB")
    image = Image.new(white, (2, 2), "white").convert(mode)
    assert (pixels(image) == 255).all()


def test_lab_becomes_rgb() -> None:
    """Pure red has L 53.2 of 100 (136 of 255), a 80, b 67, both stored plus 128."""
    np.testing.assert_allclose(
        pixels(Image.new("LAB", (1, 1), (136, 208, 195)))[0, 0], RED, atol=12
    )


def test_modes_without_a_way_to_rgb_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("conversion not supported")

    image = Image.new("CMYK", (2, 2))
    monkeypatch.setattr(image, "convert", fail)
    monkeypatch.setattr(image, "copy", lambda: image)
    with pytest.raises(ImageError, match="mode CMYK, which cannot be converted to RGB; save it"):
        pixels(image)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(format_: str) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), GREEN)
    options = {"lossless": True} if format_ == "WEBP" else {}
    data = saved(first, format_, save_all=True, append_images=[second], **options)
    with Image.open(BytesIO(data)) as image:
        assert image.n_frames == 2
    assert (pixels(data) == RED).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
def test_pictures_are_turned_upright(orientation: int, format_: str) -> None:
    """The same picture, stored in each of the eight ways that a camera may hold it."""
    upright = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
    data = saved(Image.fromarray(stored), format_, exif=exif, **options)
    np.testing.assert_array_equal(pixels(data), upright)
    with Image.open(BytesIO(data)) as image:
        np.testing.assert_array_equal(pixels(image), upright)


def test_broken_exif_data_do_not_matter() -> None:
    data = saved(Image.fromarray(halves()), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    np.testing.assert_array_equal(pixels(data), halves())


def test_a_given_image_is_not_changed() -> None:
    image = Image.new("RGBA", (4, 6), (*RED, 10))
    image.info["exif"] = saved(Image.new("RGB", (1, 1)), "JPEG")
    before = image.copy()
    pixels(image)
    assert image == before


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    for format_ in FORMATS:
        data = saved(whole, format_)
        path = tmp_path / f"cut.{format_}"
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(
            ImageError, match=r"images\[0\] \(.*cut\..*\) (is damaged|has a|is not)"
        ):
            pixels(path)


@pytest.mark.parametrize(("width", "height"), [(40_000, 3_000), (60_000, 60_000), (10_000, 8_950)])
def test_a_bomb_is_refused_on_its_header(width: int, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"images\[0\] \(\d+ bytes\) (has|is too large)"):
            pixels(png_header(width, height))


def test_the_limit_of_pixels_is_a_setting(trained: Path, load: Any) -> None:
    processor = load(trained, pixel_limit=6 * 4 - 1)
    for source in (halves(), Image.fromarray(halves()), saved(Image.fromarray(halves()))):
        with pytest.raises(ImageError, match="6 x 4 pixels, more than the limit of 23; shrink it"):
            processor.prompt(Request(text="a", images=[source]))
    assert pixels(halves(), limit=6 * 4).shape == (4, 6, 3)


def test_pillows_own_limits_are_left_alone() -> None:
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    pixels(saved(Image.fromarray(halves())))
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


@pytest.mark.parametrize("data", [b"", b"no picture", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"images\[0\] \(\d+ bytes\)"):
        pixels(data)


def test_formats_that_are_not_named_are_refused() -> None:
    for format_ in ("PPM", "ICO", "PDF", "EPS"):
        data = saved(Image.fromarray(halves()), format_)
        with pytest.raises(ImageError, match="known formats: PNG, JPEG, WEBP, GIF, BMP, TIFF"):
            pixels(data)


@pytest.mark.parametrize(
    "address",
    [
        "http://a.b/c.png",
        "https://a.b/c.png",
        "HTTPS://A.B",
        "file:///etc/passwd",
        "data:image/png;,",
    ],
)
def test_addresses_are_refused(address: str) -> None:
    with pytest.raises(ImageError, match="is an address; pictures are not fetched from the netw"):
        pixels(address)


def test_paths_that_name_no_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"images\[0\] \(.*missing\.png\): there is no such file"):
        pixels(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="is a folder; name a picture in it"):
        pixels(tmp_path)
    with pytest.raises(ImageError, match=r"a\\x00b\.png'\): there is no such file"):
        pixels("a\0b.png")
    with pytest.raises(ImageError, match=r"cannot be read|no such file"):
        pixels("a" * 5000)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="is not a regular file"):
        pixels(tmp_path / "pipe")


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(saved(Image.fromarray(halves())))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # Root, as in a container, may read anything.
    with pytest.raises(ImageError, match=r"secret\.png\) cannot be read: Permission denied"):
        pixels(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 6, 3), np.float32), r"an array of float32 has no agreed range; scale it to"),
        (np.zeros((4, 6), np.uint16), "an array of uint16"),
        (np.zeros((4, 6), bool), "an array of bool"),
        (np.zeros((3, 4, 6), np.uint8), r"channels come last, as in array.transpose\(1, 2, 0\)"),
        (np.zeros((4, 6, 2), np.uint8), r"shape \[4, 6, 2\] is not a picture"),
        (np.zeros((1, 4, 6, 3), np.uint8), r"shape \[1, 4, 6, 3\] is not a picture"),
        (np.zeros((6,), np.uint8), r"shape \[6\] is not a picture"),
        (np.zeros((0, 6, 3), np.uint8), "has no pixels"),
        (7, "int is not a picture; give a path"),
        (None, "NoneType is not a picture"),
        (b"", "0 bytes"),
    ],
)
def test_values_that_are_no_picture_are_refused(array: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        pixels(array)


def test_a_picture_is_named_by_its_place(processor: HFProcessor) -> None:
    good = Image.fromarray(halves())
    with pytest.raises(ImageError, match=r"^images\[1\] \(9 bytes\) is not a picture that can"):
        processor.prompt(Request(text="a", images=[good, b"not image"]))
    content = [{"type": "text", "text": "a"}, {"type": "image", "image": b""}]
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": content}]
    with pytest.raises(ImageError, match=r"^messages\[1\]\.content\[1\] \(0 bytes\)"):
        processor.prompt(Request(messages=messages))
