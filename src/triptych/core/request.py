"""What a caller asks for: one line of a JSONL batch, or the arguments of one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Message = Mapping[str, Any]
"""``{"role": "user", "content": ...}``; content is text, or a list of parts
``{"type": "text", "text": ...}``, ``{"type": "image", "image": ...}`` and ``{"type": "video",
"video": ...}``; a video may say its ``fps``. An assistant message may carry ``tokens``, the ids
that were generated, which are then kept as they were."""


@dataclass(frozen=True)
class Request:
    """One question, or a whole conversation.

    text: the user's question; exclusive with `messages`.
    messages: the whole conversation, oldest first; images and videos are parts of it.
    images: paths, bytes, PIL images or uint8 arrays [height, width, 3]; they precede `text`.
    videos: each the path of a folder of pictures, of an animation or of a video file, such a
        file's bytes, or a list of pictures; they precede `text`, after the images.
    system: the system message, if `messages` does not hold one.
    settings: per-request settings, as the keywords of `Pipeline.generate`.
    id: given back in the reply.
    """

    text: str | None = None
    messages: Sequence[Message] | None = None
    images: Sequence[Any] = ()
    system: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    videos: Sequence[Any] = ()
