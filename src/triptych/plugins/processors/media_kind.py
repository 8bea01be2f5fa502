"""A kind of media that a folder takes: what the processor asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from triptych.core.dataclass import dataclass
from triptych.core.ports import Array, Port
from triptych.plugins.processors.conversation import MediaSource
from triptych.plugins.processors.expansion import Expansion


@dataclass(frozen=True)
class Opened:
    """A medium that was read.

    digest: of its content and of everything that decides its ports.
    compute: gives its ports.
    """

    digest: str
    expansion: Expansion
    compute: Callable[[], Mapping[str, Array]]


class MediaKind(Protocol):
    """Images, or another kind.

    name: ``"image"`` or ``"video"``.
    placeholder: the token that a chat template writes once per medium, and that each of its
        rows takes in the prompt; None when the tokenizer has none.
    offers: the ports that its media have.
    """

    name: str
    placeholder: str | None
    offers: tuple[Port, ...]

    def open(self, source: MediaSource) -> Opened:
        """Read and measure a medium. Raises InputError that names its place."""
        ...
