"""What a caller gets back: pieces of text while they come, and the reply at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from triptych.core.sampling.logprobs import TokenLogprobs

FinishReason = Literal["eos", "stop", "length", "cancelled"]


@dataclass(frozen=True)
class Piece:
    """Some text of a reply, as soon as it is certain. tokens: the ids that came with it."""

    text: str
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True)
class Usage:
    """Tokens of a request. prompt_tokens counts the image tokens, too.

    cached_tokens: those of the prompt whose keys and values an earlier request, or an earlier
        turn, had left. image_tokens_kept: those that reducers left, where it has some; what a
        stage drops inside the decoder is not counted.
    """

    prompt_tokens: int
    image_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    image_tokens_kept: int = 0


@dataclass(frozen=True)
class Timings:
    """Seconds.

    load: of the pipeline. vision: media to features. prefill: up to the first logits.
    decode: from then to the end.
    """

    load: float
    vision: float
    prefill: float
    decode: float


@dataclass(frozen=True)
class Reply:
    """A finished reply. tokens leaves out the EOS; text leaves out the stop string.

    logprobs: one for each token, where they were asked for; a strategy that chooses tokens
        without the chain has none.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    seed: int
    id: str | None = None
    logprobs: tuple[TokenLogprobs, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with `id` only where the request had one, and `logprobs` where it has some."""
        result = asdict(self) | {"tokens": list(self.tokens)}
        if self.id is None:
            del result["id"]
        if not self.logprobs:
            del result["logprobs"]
        return result


@dataclass(frozen=True)
class Score:
    """How likely a completion is.

    tokens: its ids. logprobs: of each, given all before it, natural log, before any warp.
    total: their sum.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    total: float
