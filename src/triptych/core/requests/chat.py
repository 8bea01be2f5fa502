"""A conversation: every turn is rendered whole, and the cache keeps what did not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from triptych.core.errors import InputError
from triptych.core.reply import Reply
from triptych.core.request import Message, Request
from triptych.core.requests.shown import Shown
from triptych.core.requests.stream import Stream
from triptych.core.sequences.sequence import Sequence as TokenSequence

if TYPE_CHECKING:
    from triptych.core.pipeline import Pipeline


class Chat:
    """A conversation with one pipeline; one turn at a time.

    messages: the history, oldest first; edit it freely between turns, and the next turn goes
    on from what is left the same. An assistant message carries the `tokens` that were
    generated, which stay as they are (tokenizing its text again could give others); drop them
    when you edit the text.
    """

    def __init__(
        self, pipeline: Pipeline, *, system: str | None, settings: Mapping[str, Any]
    ) -> None:
        self.pipeline = pipeline
        self.settings = dict(settings)
        self.messages: list[Message] = []
        if system is not None:
            self.messages.append({"role": "system", "content": system})
        self._shown = Shown()
        self._sequence = pipeline.sequence()
        self._branches: dict[str, TokenSequence] = {}
        self._turn: ref[Stream] | None = None

    def send(
        self,
        text: str,
        *,
        images: Sequence[Any] = (),
        videos: Sequence[Any] = (),
        **settings: Any,
    ) -> Reply:
        """Say `text`, show images and videos; the whole reply. Settings as in `Pipeline.stream`."""
        return self.stream(text, images=images, videos=videos, **settings).reply

    def stream(
        self,
        text: str,
        *,
        images: Sequence[Any] = (),
        videos: Sequence[Any] = (),
        **settings: Any,
    ) -> Stream:
        """Say `text`, show images and videos; the reply, piece by piece.

        The turn joins the history when the stream was read to its end or closed, and not when
        it failed. Raises InputError, also while the last turn is still being made.
        """
        self._between_turns()
        parts: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
        parts += [{"type": "video", "video": video} for video in videos]
        content: Any = [*parts, {"type": "text", "text": text}] if parts else text
        asked: Message = {"role": "user", "content": content}
        messages = [*self.messages, asked]
        prompt = self.pipeline.processor.prompt(Request(messages=self._shown.in_place(messages)))

        def keep(reply: Reply) -> None:
            self._shown = self._shown.after(messages, prompt.media)
            answer = {"role": "assistant", "content": reply.text, "tokens": list(reply.tokens)}
            self.messages += [asked, answer]

        stream = self.pipeline.begin(
            prompt,
            {**self.settings, **settings},
            request=Request(messages=messages),
            sequence=self._sequence,
            branches=self._branches,
            done=keep,
        )
        self._turn = ref(stream)
        return stream

    def clear(self) -> None:
        """Forget the conversation, but for a system message at its head. Raises InputError."""
        self._between_turns()
        self.messages = [m for m in self.messages[:1] if m["role"] == "system"]
        self.pipeline.clear([self._sequence, *self._branches.values()])
        self._branches.clear()
        self._shown = Shown()

    def __del__(self) -> None:
        if hasattr(self, "_branches"):
            self.pipeline.discard([self._sequence, *self._branches.values()])

    def _between_turns(self) -> None:
        turn = self._turn() if self._turn is not None else None
        if turn is not None and not turn.closed:
            raise InputError(
                "the last turn is still being made; read its stream to the end, or close it"
            )
