"""Speculation without a second model: text that repeats is drafted from its first time."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import ClassVar, Self

from pydantic import Field, model_validator

from triptych.core.config import settings as core
from triptych.core.spans import Generation, Logits, Span
from triptych.plugins.strategies.ngrams import Ngrams
from triptych.plugins.strategies.pace import Pace
from triptych.plugins.strategies.verification import verify


class PromptLookup:
    """Drafts what followed the last tokens earlier on; one forward pass verifies the draft.

    A copy of earlier text goes on for as long as it is right. How often copies are right is
    watched whether they are forwarded or not, so a text that never repeats itself is decoded as if
    nothing could be drafted. Tokens are those of plain decoding: see `verify`.
    Source: "Prompt Lookup Decoding" (Saxena 2023).
    """

    class Settings(core.Settings):
        """tokens: drafted per step at most.

        ngram, min_ngram: how many of the last tokens must recur, the longest match first.
        cost: what a drafted token adds to a pass, as a part of a step; the more, the surer a
            draft must be.
        """

        tokens: int = Field(default=16, ge=1)
        ngram: int = Field(default=3, ge=1)
        min_ngram: int = Field(default=1, ge=1)
        cost: float = Field(default=0.15, ge=0, lt=1)

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if self.min_ngram > self.ngram:
                raise ValueError(f"min_ngram {self.min_ngram} is more than ngram {self.ngram}")
            return self

    speculates = True
    neutral: ClassVar[Mapping[str, object]] = {}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The strategy of one generation. Raises RollbackError."""
        wanted = self.settings
        pace = Pace(cost=wanted.cost, most=wanted.tokens)
        copy = Copy(wanted.ngram, wanted.min_ngram, pace)
        copy.extend(generation.chain.tokens.tolist())
        ended = False
        while not ended:
            # One place stays free for the token that is chosen after the whole draft.
            draft = copy.draft(room=generation.sequence.room - 1, company=generation.company)
            tokens, ended = yield from verify(generation, draft, "prompt_lookup")
            pace.passed(len(draft), len(tokens) - 1)
            copy.extend(tokens)


class Copy:
    """A place in a text whose continuation the text may repeat now."""

    def __init__(self, longest: int, shortest: int, pace: Pace) -> None:
        self._text = Ngrams(longest, shortest)
        self._pace = pace
        self._at: int | None = None
        self._run = 0

    def draft(self, *, room: int, company: int = 1) -> list[int]:
        """What may come next: no more than pays, and none where nothing recurs."""
        if self._at is None:
            return []
        count = self._pace.length(self._run, room=room, company=company)
        return self._text.after(self._at, count) if count else []

    def extend(self, tokens: list[int]) -> None:
        """Go on by tokens that were committed."""
        text = self._text
        if self._at is None:
            text.extend(tokens[:-1])
            tokens = tokens[-1:]
        for token in tokens:
            right = self._at is not None and text.tokens[self._at] == token
            if self._at is not None:
                self._pace.saw(self._run, right=right)
                self._at, self._run = self._at + 1, self._run + 1
            text.extend([token])
            if not right:
                found = text.last()
                self._at, self._run = found if found is not None else (None, 0)
