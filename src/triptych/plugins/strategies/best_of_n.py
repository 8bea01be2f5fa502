"""Several texts side by side; the one that scores best."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from collections.abc import Sequence as Steps
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.errors import InputError
from triptych.core.sampling import Chain, log_softmax
from triptych.core.sequences.sequence import Sequence
from triptych.core.spans import Generation, Logits, Span


@dataclass
class Text:
    """One of the n. logprobs: of its tokens, by the model's own softmax, the end included."""

    sequence: Sequence
    chain: Chain
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False


SCORES: Mapping[str, Callable[[Text], float]] = {
    "mean_logprob": lambda text: float(np.mean(text.logprobs)),
    "logprob": lambda text: float(np.sum(text.logprobs)),
    "worst_logprob": lambda text: min(text.logprobs),
}
"""What a text is worth, by name: by its mean token, by all of them, or by its weakest one."""


class BestOfN:
    """Samples n texts and gives the one with the best score; of equals, the first.

    The prompt is forwarded once. The first text is that of plain decoding, so that n = 1 is the
    plain strategy; each other one draws from a random generator of its own. The reply comes at
    once, at the end. For a score of one's own, subclass it and override `score`.
    """

    class Settings(core.Settings):
        """n: texts. score: `mean_logprob`, `logprob`, or `worst_logprob` of a text's tokens."""

        n: int = Field(default=4, ge=1)
        score: Literal["mean_logprob", "logprob", "worst_logprob"] = "mean_logprob"

    speculates = False
    neutral: ClassVar = {"n": 1}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def score(self, text: Text) -> float:
        """What a text that has ended is worth."""
        return SCORES[self.settings.score](text)

    def check_chain(self, steps: Steps[object]) -> None:
        """Raises InputError for a chain whose texts cannot differ."""
        if self.settings.n > 1 and not getattr(steps[-1], "draws", True):
            raise InputError(
                "best_of_n: all texts of a chain without chance are the same; end the sampler with "
                "'draw', or choose the strategy beam_search"
            )

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The strategy of one generation."""
        limit = min(generation.max_new_tokens, generation.sequence.room)
        ends = generation.eos_ids
        [rows] = yield [Span(generation.sequence)]
        texts = [Text(generation.sequence, generation.chain)]
        for _ in range(self.settings.n - 1):
            chain = generation.chain.fork(spawn=True)
            texts.append(Text(generation.sequence.fork(), chain))
        given = [rows] * len(texts)
        running = texts
        while running:
            for text, found in zip(running, given, strict=True):
                row = found[-1]
                token = text.chain.choose(row)
                text.tokens.append(token)
                text.logprobs.append(float(log_softmax(row)[token]))
                text.ended = token in ends or len(text.tokens) >= limit
                if not text.ended:
                    text.sequence.append([token])
            running = [text for text in running if not text.ended]
            if running:
                given = yield [Span(text.sequence) for text in running]
        best = max(texts, key=self.score)
        generation.chain = best.chain
        for token in best.tokens:
            if generation.emit(token):
                return
