"""Videos as a kind of media: each temporal patch stands after the second at which it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from triptych.core.dataclass import dataclass
from triptych.core.ports import Array
from triptych.plugins.processors.clips import Limits, VideoError
from triptych.plugins.processors.conversation import MediaSource
from triptych.plugins.processors.expansion import Expansion, Rows
from triptych.plugins.processors.folder import ModelFolder
from triptych.plugins.processors.identity import Recent, identity
from triptych.plugins.processors.media_kind import Opened
from triptych.plugins.processors.text import TextCodec

if TYPE_CHECKING:
    from triptych.plugins.processors.video_patches import VideoPatches

TYPES = ("Qwen3VLVideoProcessor",)
"""Values of ``video_processor_type`` whose videos are laid out so."""
REMEMBERED = 64
"""Videos whose digest and layout are kept."""


@dataclass(frozen=True)
class VideoBounds:
    """Overrides of what the folder says of videos; None: as it says.

    fps: frames looked at for each second. max_frames: the most of them. max_pixels: of all of
    them together.
    """

    fps: float | None = None
    max_frames: int | None = None
    max_pixels: int | None = None


class VideoKind:
    """Clips, as Qwen3-VL takes them (arXiv 2511.21631, section 2: time as text).

    placeholder: the video token's text, or None. start, end: what stands before and after the
    rows of a temporal patch. Those that the template writes stay around the whole, as in
    transformers.
    """

    name = "video"

    def __init__(
        self, patches: VideoPatches, placeholder: str | None, start: str, end: str, limits: Limits
    ) -> None:
        self.placeholder = placeholder
        self.offers = patches.offers
        self._patches = patches
        self._start, self._end = start, end
        self._limits = limits
        self._recent: Recent[tuple[str, Expansion]] = Recent(REMEMBERED)

    def open(self, source: MediaSource) -> Opened:
        """Decode the frames that are looked at; their ports are computed when asked for.

        A file that was read before, as in each turn of a conversation about it, is decoded
        again only if its ports are asked for again.
        """
        key = identity(source.value)
        key = None if key is None else (key, source.fps)
        known = self._recent.get(key)
        if known is None:
            opened = self._read(source)
            self._recent.put(key, (opened.digest, opened.expansion))
            return opened
        digest, expansion = known

        def compute() -> Mapping[str, Array]:
            again = self._read(source)
            if again.digest != digest:
                raise VideoError(f"{source.place} changed while it was in use; send it again")
            return again.compute()

        return Opened(digest, expansion, compute)

    def _read(self, source: MediaSource) -> Opened:
        from triptych.plugins.processors.videos import open_video

        with open_video(source.value, source.place, self._limits) as clip:
            measured = self._patches.measure(clip, source.fps)
        pieces: list[str | Rows] = []
        for second in measured.seconds:
            pieces += [f"<{second:.1f} seconds>{self._start}", Rows(measured.rows), self._end]
        return Opened(measured.digest, Expansion(tuple(pieces)), measured.compute)


def video_kind(
    folder: ModelFolder, codec: TextCodec, bounds: VideoBounds, limits: Limits
) -> VideoKind | None:
    """The folder's videos, or None when it takes none. Raises ProcessorError."""
    if video_refusal(folder):
        return None
    from triptych.plugins.processors.video_patches import VideoPatches

    patches = VideoPatches(folder.video_config, bounds, str(folder.path))
    placeholder, start, end = (
        codec.text_of(folder.token(name)) for name in ("video", "vision_start", "vision_end")
    )
    return VideoKind(patches, placeholder, start or "", end or "", limits)


def video_refusal(folder: ModelFolder) -> str | None:
    """Why a folder takes no videos, if it does not."""
    if not folder.video_config:
        return f"{folder.path} has no video_preprocessor_config.json"
    kind = folder.video_config.get("video_processor_type")
    family = str(folder.config.get("model_type"))
    if kind in TYPES or (kind is None and family.startswith("qwen3_vl")):
        return None
    return f"{folder.path} has a video processor of type {kind!r}; known: {', '.join(TYPES)}"
