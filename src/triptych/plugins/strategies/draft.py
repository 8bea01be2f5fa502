"""Speculation with a second model: a small one drafts, and one pass of the large one verifies."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.config.second import PipelineSource
from triptych.core.errors import InputError, TriptychError
from triptych.core.prompt import Processor, Prompt
from triptych.core.sampling import Chain
from triptych.core.spans import Generation, Logits, Span
from triptych.plugins.strategies.pace import Pace
from triptych.plugins.strategies.verification import verify

if TYPE_CHECKING:
    from triptych.core.pipeline import Pipeline

PRIORS = (0.7,) * 7
"""How often a draft is expected to be right, before anything is known of a text."""
ROUND = 16
"""Tokens after which drafts that did not pay are tried again."""
COMPARED = (*range(0, 2**12, 32), *range(2**12, 2**18, 2**10))
"""Where runs of `RUN` ids begin that are compared: all of the first, and some of each later part of
the largest vocabularies."""
RUN = 32


class VocabularyError(TriptychError):
    """The second pipeline's tokens are others."""


class Draft:
    """Another pipeline drafts tokens; one forward pass verifies them.

    It is given the same request through a processor of its own, so it may see images otherwise,
    and it chooses from its logits as the generation's chain would, with the same random numbers.
    Tokens are those of plain decoding: see `verify`. A request that it cannot take, as of images
    where it has no eyes, is decoded without drafts.
    Source: speculative decoding (Leviathan et al., arXiv 2211.17192), with the choices of plain
    decoding in place of its acceptance rule, so that one seed gives one text with and without.
    """

    class Settings(core.Settings):
        """pipeline: a folder, a pipeline file, or a built-in model; of the same vocabulary.

        tokens: drafted per step at most.
        cost: what a drafted token takes in both models, as a part of a step of the large one; the
            more, the surer a draft must be.
        """

        pipeline: PipelineSource = Field(examples=["sketch"])
        tokens: int = Field(default=4, ge=1)
        cost: float = Field(default=0.3, ge=0)

    speculates = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pipeline: Pipeline | None = None

    def load(self, processor: Processor) -> None:
        """Load the second pipeline. Raises VocabularyError, and what loading raises."""
        self._pipeline = self.settings.pipeline.load()
        check_vocabulary(processor, self._pipeline.processor)

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The strategy of one generation. Raises RollbackError."""
        pace = Pace(cost=self.settings.cost, most=self.settings.tokens, priors=PRIORS)
        drafter = self._drafter(generation)
        right = waited = 0
        try:
            tokens, ended = yield from verify(generation, [], "draft")
            while not ended:
                drafter.commit(generation, tokens)
                # One place stays free for the token that is chosen after the whole draft.
                room = min(generation.sequence.room - 1, drafter.room)
                count = pace.length(1 + right, room=room, company=generation.company)
                if not count and waited >= ROUND:
                    count = min(1, max(room, 0))
                draft = drafter.draft(generation.chain, count)
                tokens, ended = yield from verify(generation, draft, "draft")
                agreed = drafter.agreed(tokens)
                for place in range(min(agreed + 1, len(draft))):
                    pace.saw(1 + right + place, right=place < agreed)
                pace.passed(len(draft), agreed)
                right = right + agreed if agreed == len(draft) else 0
                waited = 0 if draft else waited + 1
        finally:
            drafter.close()

    def _drafter(self, generation: Generation) -> Drafter:
        pipeline = self._pipeline
        if pipeline is None:
            raise VocabularyError("draft: the second pipeline was not loaded")
        prompt = generation.prompt
        try:
            if prompt.media:
                if generation.request is None:
                    return Drafter(None, prompt)
                prompt = pipeline.processor.prompt(generation.request)
            return Drafter(pipeline, prompt)
        except InputError:
            return Drafter(None, prompt)


class Drafter:
    """The second pipeline's side of one generation; without a pipeline, it drafts nothing.

    prompt: its own. Raises InputError for one that the pipeline cannot take.
    """

    def __init__(self, pipeline: Pipeline | None, prompt: Prompt) -> None:
        self._pipeline = pipeline
        self._prompt = prompt
        self._sequence = pipeline.open(prompt) if pipeline is not None else None
        self._draft: list[int] = []
        self._entered = 0

    @property
    def room(self) -> int:
        """How many tokens it can draft."""
        return self._sequence.room if self._sequence is not None else 0

    def draft(self, chain: Chain, count: int) -> list[int]:
        """What `count` tokens it would choose next, as `chain` would choose them."""
        self._draft = []
        if self._pipeline is None or self._sequence is None or count < 1:
            return []
        chooser = chain.fork()
        for place in range(count):
            [row] = self._pipeline.logits(self._sequence)
            if not place:
                # Counted now: a pass may have pruned visual tokens of the prompt.
                self._entered = len(self._sequence)
            token = chooser.choose(row)
            self._draft.append(token)
            self._sequence.append([token])
        return list(self._draft)

    def agreed(self, tokens: list[int]) -> int:
        """How many of the last draft's tokens were committed."""
        pairs = zip(self._draft, tokens, strict=False)
        return next((place for place, (a, b) in enumerate(pairs) if a != b), len(self._draft))

    def commit(self, generation: Generation, tokens: list[int]) -> None:
        """Go on by tokens that were committed, in place of the last draft."""
        if self._sequence is None:
            return
        agreed = self.agreed(tokens)
        kept = not self._draft or self._sequence.truncate(self._entered + agreed)
        if kept and len(tokens) - agreed <= self._sequence.room:
            self._sequence.append(tokens[agreed:])
        elif not kept:
            chain = generation.chain
            ids = np.concatenate([self._prompt.tokens, chain.tokens[chain.prompt_length :]])
            self._sequence.align(Prompt(ids, self._prompt.media))
        else:
            self.close()

    def close(self) -> None:
        """Give its sequence back."""
        if self._pipeline is not None and self._sequence is not None:
            self._pipeline.keep(self._sequence)
        self._sequence = None


def check_vocabulary(ours: Processor, theirs: Processor) -> None:
    """Raises VocabularyError when ids stand for other text, or text for other ids.

    That is so as far as some thousand ids of the vocabularies show; see `COMPARED`.
    """
    for begin in COMPARED:
        ids = list(range(begin, begin + RUN))
        text, other = _decoded(ours, ids), _decoded(theirs, ids)
        if text != other or ours.encode(text) != theirs.encode(text):
            raise VocabularyError(
                f"tokens {begin} to {begin + RUN - 1} stand for {text[:80]!r} here, and in the "
                f"second pipeline for {other[:80]!r}, or are made of such text otherwise; choose "
                "one of the same vocabulary"
            )


def _decoded(processor: Processor, ids: list[int]) -> str:
    """Their text; none where the vocabulary ends."""
    try:
        return processor.decode(ids)
    except (LookupError, ValueError, OverflowError):
        return ""
