"""The processor of a Hugging Face folder: its tokenizer, chat template and image processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from triptych.core.errors import InputError
from triptych.core.paths import FilePath
from triptych.core.ports import Array
from triptych.core.prompt import Media, Prompt, digest_of
from triptych.core.request import Request
from triptych.core.settings import Settings as BaseSettings
from triptych.plugins.processors.conversation import Conversation, ImageSource
from triptych.plugins.processors.folder import ModelFolder, ProcessorError
from triptych.plugins.processors.image_ports import Bounds, image_ports
from triptych.plugins.processors.marks import Marks
from triptych.plugins.processors.text import load_codec

if TYPE_CHECKING:
    from triptych.plugins.processors.chat_template import ChatTemplate

PIXEL_LIMIT = 89_478_485
"""Pixels of the largest picture: Pillow's own threshold of a decompression bomb, 1 GiB / 12."""


class HFProcessor:
    """Turns requests into prompts and tokens into text, as transformers does with this folder.

    For ordinary text the ids are those of ``apply_chat_template``. Text that spells out a
    special token stays text, and generated ids of earlier turns are kept as they were. A
    folder without a chat template takes plain text only. No code of the folder runs.

    Raises ProcessorError for a folder that cannot be used.
    """

    class Settings(BaseSettings):
        """Where the files are, and how large pictures may be."""

        folder: FilePath
        """Holds tokenizer.json, and for images preprocessor_config.json."""
        min_pixels: int | None = Field(None, gt=0)
        """Smaller pictures are enlarged to this many pixels; default: the folder's own."""
        max_pixels: int | None = Field(None, gt=0)
        """Larger pictures are shrunk to this many pixels; default: the folder's own."""
        pixel_limit: int = Field(PIXEL_LIMIT, gt=0)
        """Pictures of more pixels are refused before they are decoded."""

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
                raise PydanticCustomError(
                    "pixels", "min_pixels is larger than max_pixels; swap them"
                )
            return self

    def __init__(self, settings: Settings) -> None:
        self._folder = ModelFolder(settings.folder)
        self._pixel_limit = settings.pixel_limit
        self._codec = load_codec(self._folder)
        self._images = image_ports(self._folder, Bounds(settings.min_pixels, settings.max_pixels))
        self.offers = self._images.offers if self._images else ()
        ends = {self._id(token) for token in self._folder.eos_tokens}
        self.eos_ids = frozenset(end for end in ends if end is not None)
        self.max_context = self._folder.max_context

    def prompt(self, request: Request) -> Prompt:
        """Render, tokenize and place the images. Raises InputError before anything runs."""
        conversation = Conversation.of(request)
        if conversation.images and self._images is None:
            raise InputError(
                f"{conversation.images[0].place}: this model takes no images "
                f"({self._folder.path} has no preprocessor_config.json); leave it out"
            )
        if self._template is None:
            return self._untemplated(request)
        tokens, placeholders = self._tokens(conversation, self._template)
        if len(placeholders) != len(conversation.images):
            raise InputError(
                f"the chat template wrote {len(placeholders)} image placeholders for "
                f"{len(conversation.images)} images; it may not take images in that place"
            )
        return self._placed(tokens, placeholders, conversation.images)

    def encode(self, text: str) -> list[int]:
        """Plain text to token ids: no template; spelled-out special tokens stay text."""
        return self._codec.plain(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Token ids to text, special and unknown tokens left out; half a character gives U+FFFD."""
        return self._codec.decode(tokens)

    @cached_property
    def _template(self) -> ChatTemplate | None:
        found = self._folder.chat_template
        if found is None:
            return None
        from triptych.plugins.processors.chat_template import ChatTemplate

        source, name = found
        return ChatTemplate(source, str(self._folder.path / name), self._folder.special_tokens)

    @cached_property
    def _image_id(self) -> int | None:
        """The id of the placeholder that a template writes once per image."""
        return self._id(self._folder.image_token)

    def _id(self, token: int | str) -> int | None:
        return self._codec.id_of(token) if isinstance(token, str) else token

    def _untemplated(self, request: Request) -> Prompt:
        if request.text is None or request.system is not None or len(request.images) > 0:
            raise InputError(
                f"{self._folder.path} has no chat template, so it takes plain text only: "
                "give text, without system, messages or images"
            )
        return Prompt(np.array(self._codec.plain(request.text, frame=True), np.int64))

    def _tokens(
        self, conversation: Conversation, template: ChatTemplate
    ) -> tuple[list[int], list[int]]:
        """The ids with one placeholder per image, and where those are."""
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
        tokens: list[int] = []
        placeholders: list[int] = []
        for piece in marks.split(template.render(messages)):
            if piece in marks.tokens:
                tokens += marks.tokens[piece]
                continue
            for token in self._codec.rendered(piece, marks.literal):
                if token == self._image_id:
                    placeholders.append(len(tokens))
                tokens.append(token)
        return tokens, placeholders

    def _placed(
        self, tokens: list[int], placeholders: list[int], sources: list[ImageSource]
    ) -> Prompt:
        """Each placeholder repeated for the rows of its image."""
        placed: list[int] = []
        media: list[Media] = []
        begin = 0
        for at, source in zip(placeholders, sources, strict=True):
            placed += tokens[begin:at]
            begin = at + 1
            rows, digest, compute = self._opened(source)
            media.append(
                Media("image", digest, np.arange(len(placed), len(placed) + rows), compute)
            )
            placed += [tokens[at]] * rows
        placed += tokens[begin:]
        return Prompt(np.array(placed, np.int64), tuple(media))

    def _opened(self, source: ImageSource) -> tuple[int, str, Callable[[], Mapping[str, Array]]]:
        """An image's rows, digest and what computes its ports."""
        from triptych.plugins.processors.images import open_image

        if self._images is None:
            raise ProcessorError(f"{self._folder.path} has no image processor")
        image = open_image(source.value, source.place, pixel_limit=self._pixel_limit)
        rows, compute = self._images.measure(image, source.place)
        size = f"{image.width}x{image.height}"
        return rows, digest_of(self._images.fingerprint, size, image.tobytes()), compute


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
