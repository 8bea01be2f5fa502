"""Both ends of a chat model, whatever reads its tokenizer and computes its pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.core.errors import InputError, TriptychError
from triptych.core.prompt import Media, Prompt
from triptych.core.request import Request
from triptych.plugins.processors.clips import Limits
from triptych.plugins.processors.conversation import Conversation, MediaSource
from triptych.plugins.processors.expansion import Expansion
from triptych.plugins.processors.folder import ModelFolder
from triptych.plugins.processors.image_kind import ImageKind
from triptych.plugins.processors.image_ports import ImagePorts
from triptych.plugins.processors.marks import Marks
from triptych.plugins.processors.media_kind import MediaKind, Opened
from triptych.plugins.processors.placement import Placeholders, Placement
from triptych.plugins.processors.processor_settings import ProcessorSettings
from triptych.plugins.processors.text import TextCodec
from triptych.plugins.processors.video_kind import VideoBounds, video_kind, video_refusal

if TYPE_CHECKING:
    from triptych.plugins.processors.chat_template import ChatTemplate


class ChatProcessor:
    """Turns requests into prompts and tokens into text, as transformers does with this folder.

    codec: the folder's tokenizer. images: what computes its pictures, or None when it takes none.

    For ordinary text the ids are those of ``apply_chat_template``. Text that spells out a
    special token stays text, and generated ids of earlier turns are kept as they were. A
    folder without a chat template takes plain text only. No code of the folder runs.

    Raises ProcessorError for a folder that cannot be used.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        folder: ModelFolder,
        codec: TextCodec,
        images: ImagePorts | None,
    ) -> None:
        self._folder = folder
        self._codec = codec
        self._kinds = _media_kinds(folder, codec, images, settings)
        self._placeholders = _placeholders(self._kinds, self._codec)
        # The vision encoder takes frames and pictures alike.
        offers = {port.name: port for kind in self._kinds.values() for port in kind.offers}
        self.offers = tuple(offers.values())
        ends = {self._id(token) for token in self._folder.eos_tokens}
        self.eos_ids = frozenset(end for end in ends if end is not None)
        self.max_context = self._folder.max_context

    def load(self) -> None:
        """Compile the template, while the graphs are opened; what is wrong with it shows later."""
        with suppress(TriptychError):
            if self._template is not None:
                _ = self._template.takes_text, self._template.takes_parts

    def prompt(self, request: Request) -> Prompt:
        """Render, tokenize and place the media. Raises InputError before anything runs."""
        conversation = Conversation.of(request)
        for source in conversation.media:
            if source.kind not in self._kinds:
                raise InputError(
                    f"{source.place}: this model takes no {source.kind}s "
                    f"({_reason(self._folder, source.kind)}); leave it out"
                )
        if self._template is None:
            return self._untemplated(request, conversation)
        return self._rendered(conversation, self._template)

    def encode(self, text: str) -> list[int]:
        """Plain text to token ids: no template; spelled-out special tokens stay text."""
        return self._codec.plain(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Token ids to text, special and unknown tokens left out; half a character gives U+FFFD."""
        return self._codec.decode(tokens)

    @property
    def tokenizer_json(self) -> str:
        """The tokenizer in the format of ``tokenizer.json``, for steps that work on its bytes."""
        return self._codec.json

    @cached_property
    def _template(self) -> ChatTemplate | None:
        found = self._folder.chat_template
        if found is None:
            return None
        from triptych.plugins.processors.chat_template import ChatTemplate

        source, name = found
        return ChatTemplate(source, str(self._folder.path / name), self._folder.special_tokens)

    def _id(self, token: int | str) -> int | None:
        return self._codec.id_of(token) if isinstance(token, str) else token

    def _untemplated(self, request: Request, conversation: Conversation) -> Prompt:
        if request.text is None or request.system is not None or conversation.media:
            raise InputError(
                f"{self._folder.path} has no chat template, so it takes plain text only: "
                "give text, without system, messages or images"
            )
        return Prompt(np.array(self._codec.plain(request.text, frame=True), np.int64))

    def _rendered(self, conversation: Conversation, template: ChatTemplate) -> Prompt:
        """The ids of the rendered template, each placeholder expanded for its medium."""
        marks = Marks(
            self._codec.special, conversation.messages, (self._folder.chat_template or ("",))[0]
        )
        messages = []
        for index, message in enumerate(conversation.messages):
            hidden = marks.hide(message)
            if index in conversation.tokens:
                hidden["content"] = marks.keep(conversation.tokens[index])
            if "content" in hidden:
                hidden["content"] = _fitted(hidden["content"], template)
            messages.append(hidden)
        pieces = list(marks.split(template.render(messages)))
        placement = Placement(self._placeholders, self._opened(conversation, pieces))
        for piece in pieces:
            if piece in marks.tokens:
                placement.keep(marks.tokens[piece])
            else:
                text = placement.expanded(piece)
                placement.add(self._codec.rendered(text, marks.literal))
        return placement.prompt()

    def _opened(self, conversation: Conversation, pieces: Sequence[str]) -> dict[str, list[Opened]]:
        """The media by kind, once it is known that each has its placeholder."""
        given = Counter(source.kind for source in conversation.media)
        written = self._placeholders.count(pieces)
        for kind in self._kinds:
            if given[kind] != written[kind]:
                raise InputError(
                    f"the chat template wrote {written[kind]} {kind} placeholders for "
                    f"{given[kind]} {kind}s; it may not take {kind}s in that place"
                )
        opened: dict[str, list[Opened]] = {kind: [] for kind in self._kinds}
        for source in conversation.media:
            opened[source.kind].append(_known(source) or self._kinds[source.kind].open(source))
        return opened


def _media_kinds(
    folder: ModelFolder, codec: TextCodec, images: ImagePorts | None, settings: ProcessorSettings
) -> dict[str, MediaKind]:
    """What a folder takes besides text, by name."""
    kinds: list[MediaKind] = []
    if images is not None:
        placeholder = codec.text_of(folder.image_token)
        kinds.append(ImageKind(images, placeholder, settings.pixel_limit))
    bounds = VideoBounds(settings.video_fps, settings.video_max_frames, settings.video_max_pixels)
    limits = Limits(settings.frame_limit, settings.pixel_limit)
    videos = video_kind(folder, codec, bounds, limits)
    if videos is not None:
        kinds.append(videos)
    return {kind.name: kind for kind in kinds}


def _known(source: MediaSource) -> Opened | None:
    """What is known of a medium that an earlier prompt gave; None of anything else."""
    media = source.value
    if not isinstance(media, Media) or not isinstance(media.layout, Expansion):
        return None
    return Opened(media.digest, media.layout, lambda: media.ports)


def _reason(folder: ModelFolder, kind: str) -> str:
    """Why a folder takes no media of a kind."""
    refusal = video_refusal(folder) if kind == "video" else None
    return refusal or f"{folder.path} has no preprocessor_config.json"


def _placeholders(kinds: Mapping[str, MediaKind], codec: TextCodec) -> Placeholders:
    """The kinds' placeholders that the tokenizer has."""
    known = {}
    for name, kind in kinds.items():
        index = None if kind.placeholder is None else codec.id_of(kind.placeholder)
        if kind.placeholder is not None and index is not None:
            known[name] = kind.placeholder, index
    return Placeholders(known)


def _fitted(content: Any, template: ChatTemplate) -> Any:
    """A content in the form that the template takes, text or parts."""
    if isinstance(content, str):
        wrap = template.takes_parts and not template.takes_text
        return [{"type": "text", "text": content}] if wrap else content
    if isinstance(content, list) and template.takes_text and not template.takes_parts:
        if any(part["type"] != "text" for part in content):
            raise InputError("the model's chat template has no place for images; leave them out")
        return "".join(part["text"] for part in content)
    return content
