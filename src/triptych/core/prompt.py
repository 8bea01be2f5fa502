"""What a processor makes of a request: token ids, and the media at their placeholders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from triptych.core.ports import Array, Port
from triptych.core.request import Request


@dataclass(frozen=True, eq=False)
class Media:
    """One image or clip.

    kind: ``"image"`` or ``"video"``.
    digest: hex digest of its content and of everything that decides its ports.
    at: int64 [N], increasing; which of the prompt's tokens are its N merged visual rows. Those of
        a clip may stand in several runs, with text between them.
    compute: gives its ports (for Qwen3-VL ``pixel_values`` f32 [patches, features] and
        ``image_grid_thw`` i64 [1, 3], of a clip a row for each step); called at most once, on
        first use.
    layout: what its processor needs to place it again. A medium that has one may be given to the
        processor in the place of the file that it was made of, which is then not read.
    """

    kind: str
    digest: str
    at: npt.NDArray[np.int64]
    compute: Callable[[], Mapping[str, Array]]
    layout: object = None
    _ports: dict[str, Array] = field(default_factory=dict, init=False, repr=False)

    @property
    def ports(self) -> Mapping[str, Array]:
        """The media's ports by name, computed on first use."""
        if not self._ports:
            self._ports.update(self.compute())
        return self._ports

    def moved(self, offset: int) -> Media:
        """The same media, `offset` tokens further on."""
        return Media(self.kind, self.digest, self.at + offset, lambda: self.ports, self.layout)


@dataclass(frozen=True, eq=False)
class Prompt:
    """tokens: int64 [S]; media: in the order of their placeholders."""

    tokens: npt.NDArray[np.int64]
    media: tuple[Media, ...] = ()

    @property
    def image_tokens(self) -> int:
        """How many of the tokens stand for visual rows."""
        return sum(len(item.at) for item in self.media)


class Processor(Protocol):
    """Both ends of a pipeline.

    offers: the ports that its media can compute; what it offers may go unread.
    eos_ids: tokens that end a generation.
    max_context: the longest sequence the model was made for, or None when unknown.
    """

    offers: tuple[Port, ...]
    eos_ids: frozenset[int]
    max_context: int | None

    def prompt(self, request: Request) -> Prompt:
        """Render, tokenize and place the media. Raises InputError."""
        ...

    def encode(self, text: str) -> list[int]:
        """Plain text to token ids: no template; spelled-out special tokens stay text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Token ids to text, special tokens left out; half a character gives U+FFFD."""
        ...


DIGEST_BYTES = 16


def digest_of(*parts: object) -> str:
    """A hex content digest (BLAKE2b, 128 bit) over byte strings, and the text of all else."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()


def digest_bytes(item: Media) -> bytes:
    """The 16 bytes of a medium's digest; a digest that is none of ours is hashed."""
    try:
        digest = bytes.fromhex(item.digest)
    except ValueError:
        digest = b""
    # A processor of somebody else's may call its media what it likes.
    return digest if len(digest) == DIGEST_BYTES else bytes.fromhex(digest_of(item.digest))
