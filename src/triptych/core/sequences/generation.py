"""One request in progress: its sequence, its chain, what it has emitted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from triptych.core.clock import Clock
from triptych.core.dataclass import dataclass
from triptych.core.prompt import Processor, Prompt
from triptych.core.reply import FinishReason, Piece
from triptych.core.request import Request
from triptych.core.sampling.chain import Chain
from triptych.core.sequences.sequence import Sequence
from triptych.core.sequences.text_stream import StopStrings, TextStream


@dataclass(frozen=True)
class StopRules:
    """When a generation ends: at one of `eos_ids`, at a string, after so many tokens."""

    eos_ids: frozenset[int]
    strings: tuple[str, ...]
    max_new_tokens: int


class RunningGeneration:
    """The `Generation` that strategies are given.

    pieces: text that is certain and that nobody has read yet.
    cached_tokens, image_tokens_kept: of the prompt; the former is known when it has ended.
    """

    def __init__(  # noqa: PLR0913  # all that a request comes with
        self,
        prompt: Prompt,
        sequence: Sequence,
        chain: Chain,
        *,
        processor: Processor,
        stop: StopRules,
        branches: dict[str, Sequence],
        new_sequence: Callable[[], Sequence],
        company: Callable[[], int] = lambda: 1,
        request: Request | None = None,
    ) -> None:
        self.prompt = prompt
        self.request = request
        self.sequence = sequence
        self.chain = chain
        self.stop = stop
        self.clock = Clock()
        self.prefill_seconds: float | None = None
        self.cached_tokens = 0
        self.image_tokens_kept = 0
        self.tokens: list[int] = []
        self.text = ""
        self.pieces: deque[Piece] = deque()
        self.finish_reason: FinishReason | None = None
        self._stream = TextStream(processor.decode)
        self._stops = StopStrings(stop.strings)
        self._unread: list[int] = []
        self._branches = branches
        self._new_sequence = new_sequence
        self._company = company

    @property
    def company(self) -> int:
        """How many generations are in progress, this one included."""
        return self._company()

    @property
    def eos_ids(self) -> frozenset[int]:
        """Tokens that end it."""
        return self.stop.eos_ids

    @property
    def max_new_tokens(self) -> int:
        """How many tokens it may emit in all."""
        return self.stop.max_new_tokens

    def emit(self, token: int) -> bool:
        """Give a committed token to the reader; True when the generation has ended.

        It ends at an EOS token (which is not part of the reply), where a stop string is
        complete, after `max_new_tokens`, and where the sequence has no room for another.
        """
        if self.finish_reason is not None:
            return True
        if token in self.stop.eos_ids:
            self._finish("eos")
            return True
        self.tokens.append(token)
        self._unread.append(token)
        text, hit = self._stops.push(self._stream.push(token))
        self._show(text)
        if hit:
            self.finish_reason = "stop"
            self._show("", last=True)
        elif len(self.tokens) >= self.stop.max_new_tokens or self.sequence.room <= 0:
            self._finish("length")
        return self.finish_reason is not None

    def cancel(self) -> None:
        """End it where it is; what was generated so far is the reply."""
        if self.finish_reason is None:
            self._finish("cancelled")

    def branch(self, name: str, edit: Callable[[Prompt], Prompt]) -> Sequence:
        """A second sequence, under `name`, from an edited copy of the prompt.

        It is kept across the turns of a chat, and keeps the prefix that did not change.
        """
        sequence = self._branches.get(name)
        if sequence is None:
            sequence = self._branches[name] = self._new_sequence()
        sequence.align(edit(self.prompt))
        return sequence

    def _finish(self, reason: FinishReason) -> None:
        self.finish_reason = reason
        text, hit = self._stops.push(self._stream.flush())
        if hit:
            self.finish_reason = "stop"
            self._show(text, last=True)
        else:
            self._show(text + self._stops.flush(), last=True)

    def _show(self, text: str, *, last: bool = False) -> None:
        if text or (last and self._unread):
            self.text += text
            self.pieces.append(Piece(text, tuple(self._unread)))
            self._unread.clear()
