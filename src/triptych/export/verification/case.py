"""What is asked of both sides: a prompt, and what belongs to its placeholders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from triptych.core.ports import Array
from triptych.core.prompt import Media, Prompt, digest_of
from triptych.core.request import Request


@dataclass(frozen=True, eq=False)
class Case:
    """A prompt under a name that people read ("a tall and a wide picture").

    prompt: token ids i64 [S], and the media at their placeholders. request: what a processor made
    it of; None where it was made up from token ids.
    """

    name: str
    prompt: Prompt
    request: Request | None = None

    @property
    def ids(self) -> Array:
        """The prompt's token ids, i64 [S]."""
        return self.prompt.tokens

    @property
    def media(self) -> Mapping[str, Array]:
        """The ports of all media together, by name; media follow each other on the first axis."""
        items = self.prompt.media
        names = dict.fromkeys(name for item in items for name in item.ports)
        return {name: np.concatenate([item.ports[name] for item in items]) for name in names}


def made_up_media(kind: str, at: Array, ports: Mapping[str, Array]) -> Media:
    """A media item whose ports are there already; at: i64 [N], which tokens are its rows."""
    digest = digest_of(*(value.tobytes() for value in ports.values()))
    return Media(kind, digest, at, lambda: ports)
