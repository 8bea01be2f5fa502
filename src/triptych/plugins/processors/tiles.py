"""The image processor of Idefics3 and SmolVLM, without transformers.

A picture is cut into square tiles of one size, row by row, and the whole of it, shrunk to one
more tile, follows (Idefics3, arXiv 2408.12637, section 2.2.1). In the prompt each tile's rows
stand after a token that says where it was. The results are those of transformers to the bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL.Image import Image, Resampling
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from triptych.core.ports import Array, Port
from triptych.plugins.processors.colours import CHANNELS, colour_table
from triptych.plugins.processors.expansion import Expansion, Rows
from triptych.plugins.processors.folder import ModelFolder, ProcessorError, token_text
from triptych.plugins.processors.image_ports import Bounds, MeasuredImage

TYPES = tuple(
    f"{family}ImageProcessor{suffix}"
    for family in ("Idefics3", "SmolVLM")
    for suffix in ("", "Fast", "Pil")
)
"""Values of ``image_processor_type`` that name it."""
MAX_SIDE = 4096
"""The longest side that a picture is ever resized to (transformers' limit)."""
HALF = (0.5, 0.5, 0.5)
"""The colour statistics of ImageNet as SigLIP uses them: from -1 to 1."""
DEFAULT_ROWS = 169
"""Rows of a tile where no file says: (364 / 14 / 2) squared (transformers' default)."""

Size = tuple[int, int]
"""Height and width in pixels."""


class Edge(BaseModel):
    """A size given by its longest edge, in pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    longest_edge: int = Field(gt=0)


class Sides(BaseModel):
    """A size given by both sides, in pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int = Field(gt=0)
    width: int = Field(gt=0)


class TileConfig(BaseModel):
    """What ``preprocessor_config.json`` may say; the defaults are transformers'.

    size: what a picture is resized to before it is cut. max_image_size: a tile's side.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    do_resize: bool = True
    size: Edge | Sides = Edge(longest_edge=4 * 364)
    resample: Resampling = Resampling.LANCZOS
    do_image_splitting: bool = True
    max_image_size: Edge = Edge(longest_edge=364)
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, float, float] = HALF
    image_std: tuple[float, float, float] = HALF


@dataclass(frozen=True)
class Layout:
    """The words around the rows of a picture's tiles.

    rows: of one tile. fence: stands before each tile and at the end. whole: before the tile that
    shows the whole picture.
    """

    rows: int
    fence: str = "<fake_token_around_image>"
    whole: str = "<global-img>"

    def expansion(self, down: int, across: int) -> Expansion:
        """What stands for a picture of so many tiles, none of them if it was not cut."""
        pieces: list[str | Rows] = []
        text = ""
        for row, column in product(range(1, down + 1), range(1, across + 1)):
            pieces += [f"{text}{self.fence}<row_{row}_col_{column}>", Rows(self.rows)]
            text = "\n" if column == across else ""
        if pieces:
            text += "\n"
        return Expansion((*pieces, text + self.fence + self.whole, Rows(self.rows), self.fence))


class TileImages:
    """A picture as tiles.

    Raises ProcessorError for settings that cannot be used.
    """

    def __init__(self, folder: ModelFolder, bounds: Bounds) -> None:
        place = folder.path
        known = {name: value for name, value in folder.image_config.items() if value is not None}
        try:
            self._config = TileConfig.model_validate(known)
        except ValidationError as error:
            raise ProcessorError(f"{place}: the image processor's settings: {error}") from error
        if bounds != Bounds():
            raise ProcessorError(
                f"{place}: pictures of this model are cut into tiles, and min_pixels and "
                "max_pixels do not apply; set size in preprocessor_config.json instead"
            )
        self._layout = _layout(folder)
        config = self._config
        self._table = colour_table(
            config.rescale_factor if config.do_rescale else None,
            config.image_mean if config.do_normalize else None,
            config.image_std if config.do_normalize else None,
        )
        self.fingerprint = json.dumps(config.model_dump(), sort_keys=True, default=str)
        side = config.max_image_size.longest_edge
        self.offers: tuple[Port, ...] = (
            Port("pixel_values", "float32", ("tiles", CHANNELS, side, side)),
        )

    def measure(self, image: Image, place: str) -> MeasuredImage:
        """The grid of tiles by arithmetic; pixels are resized when the ports are computed."""
        del place
        steps = list(self._sizes(image.height, image.width))
        side = self._config.max_image_size.longest_edge
        down, across = (length // side for length in steps[-1])
        cut = self._config.do_image_splitting and down * across > 1
        held = [image.copy()]

        def compute() -> Mapping[str, Array]:
            ports = {"pixel_values": self._tiles(held[0], steps, cut=cut)}
            held.clear()  # The media lives as long as its conversation; its pixels need not.
            return ports

        expansion = self._layout.expansion(*((down, across) if cut else (0, 0)))
        return MeasuredImage(expansion, (image.tobytes(),), compute)

    def _sizes(self, height: int, width: int) -> Iterator[Size]:
        """The sizes that a picture takes, one after the other; the last is whole tiles."""
        config = self._config
        if config.do_resize:
            if isinstance(config.size, Edge):
                height, width = longest_edge(height, width, config.size.longest_edge)
            else:
                height, width = config.size.height, config.size.width
            yield height, width
        side = config.max_image_size.longest_edge
        yield _whole_tiles(height, width, side) if config.do_image_splitting else (side, side)

    def _tiles(self, image: Image, sizes: list[Size], *, cut: bool) -> npt.NDArray[np.float32]:
        """Float32 [tiles, channels, side, side], the whole picture last.

        Every resize rounds to eight bits, as transformers' do.
        """
        for height, width in sizes:
            image = image.resize((width, height), resample=self._config.resample)
        side = self._config.max_image_size.longest_edge
        pixels = np.asarray(image)[None]
        if cut:
            small = image.resize((side, side), resample=self._config.resample)
            down, across = image.height // side, image.width // side
            grid = np.asarray(image).reshape(down, side, across, side, CHANNELS)
            tiles = grid.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, CHANNELS)
            pixels = np.concatenate([tiles, np.asarray(small)[None]])
        values = np.empty((len(pixels), CHANNELS, side, side), np.float32)
        for channel in range(CHANNELS):
            values[:, channel] = self._table[channel][pixels[..., channel]]
        return values


def longest_edge(height: int, width: int, longest: int) -> Size:
    """The size whose longer side has `longest` pixels and the other an even number.

    The shape is kept, and no side exceeds `MAX_SIDE`.
    """
    aspect = width / height
    if width >= height:
        height, width = int(longest / aspect), longest
        height += height % 2
    else:
        height, width = longest, int(longest * aspect)
        width += width % 2
    height, width = max(height, 1), max(width, 1)
    aspect = width / height
    if width >= height and width > MAX_SIDE:
        height, width = int(MAX_SIDE / aspect), MAX_SIDE
    elif height > width and height > MAX_SIDE:
        height, width = MAX_SIDE, int(MAX_SIDE * aspect)
    return max(height, 1), max(width, 1)


def _whole_tiles(height: int, width: int, side: int) -> Size:
    """The longer side rounded up to whole tiles, then the other, which keeps the shape."""
    aspect = width / height
    if width >= height:
        width = math.ceil(width / side) * side
        height = math.ceil(int(width / aspect) / side) * side
    else:
        height = math.ceil(height / side) * side
        width = math.ceil(int(height * aspect) / side) * side
    return max(height, side), max(width, side)


def _layout(folder: ModelFolder) -> Layout:
    """Rows and words as the folder's files say, else as transformers has them."""
    rows = folder.processor_config.get("image_seq_len", DEFAULT_ROWS)
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        raise ProcessorError(
            f"{folder.path}: processor_config.json: image_seq_len is {rows!r}; "
            "it is how many tokens a tile takes"
        )
    named = {"fence": "fake_image_token", "whole": "global_image_token"}
    texts = {name: _named(folder, role) for name, role in named.items()}
    return Layout(rows, **{name: text for name, text in texts.items() if text})


def _named(folder: ModelFolder, role: str) -> str | None:
    """The text of a token that the tokenizer's settings name by its role, if they do."""
    extra = folder.tokenizer_config.get("extra_special_tokens")
    named = {**(extra if isinstance(extra, dict) else {}), **folder.tokenizer_config}
    return token_text(named.get(role))
