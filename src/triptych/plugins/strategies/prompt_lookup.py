"""Speculation without a second model: text that repeats is drafted from its first time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from triptych.core import settings as core
from triptych.core.errors import PluginError
from triptych.core.spans import Generation, Logits, Span


class RollbackError(PluginError):
    """A cache could not take back the tokens of a draft."""


class PromptLookup:
    """Drafts what followed the last tokens earlier on; one forward pass verifies the draft.

    The chain chooses at each row of the pass as it would one by one, and the first token
    that differs from the draft ends the step. So every choice sees the same logits, the
    same committed tokens and the same random numbers as in plain decoding, and is the same.
    Source: "Prompt Lookup Decoding" (Saxena 2023).
    """

    class Settings(core.Settings):
        """tokens: drafted per step at most.

        ngram, min_ngram: how many of the last tokens must recur, the longest match first.
        """

        tokens: int = Field(default=8, ge=1)
        ngram: int = Field(default=3, ge=1)
        min_ngram: int = Field(default=1, ge=1)

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if self.min_ngram > self.ngram:
                raise ValueError(f"min_ngram {self.min_ngram} is more than ngram {self.ngram}")
            return self

    speculates = True

    def __init__(self, settings: Settings) -> None:
        self.tokens = settings.tokens
        self.ngram = settings.ngram
        self.min_ngram = settings.min_ngram

    def run(self, generation: Generation) -> Generator[list[Span], list[Logits], None]:
        """The strategy of one generation. Raises RollbackError."""
        sequence, chain = generation.sequence, generation.chain
        while True:
            # One place stays free for the token that is chosen after the whole draft.
            draft = self.draft(sequence.tokens, most=sequence.room - 1)
            if draft:
                sequence.append(draft)
            [rows] = yield [Span(sequence, rows=len(draft) + 1)]
            # Counted now: a pass may have pruned visual tokens of the prompt.
            committed = len(sequence) - len(draft)
            for place, row in enumerate(rows):
                token = chain.choose(row)
                agreed = place < len(draft) and token == draft[place]
                if not agreed:
                    self._take_back(generation, committed + place)
                    sequence.append([token])
                if generation.emit(token):
                    self._take_back(generation, committed + place + 1)
                    return
                if not agreed:
                    break

    def draft(self, tokens: npt.NDArray[np.int64], *, most: int) -> list[int]:
        """What may come after `tokens`, int64 [T]: at most `most`, none where nothing recurs.

        The longest n-gram wins; of its occurrences the latest that a whole draft follows, or
        else the earliest, which most tokens follow.
        """
        wanted = min(self.tokens, most)
        if wanted < 1 or tokens.size <= 1:
            return []
        ends = np.flatnonzero(tokens[:-1] == tokens[-1])
        length = 1
        while length < self.ngram and ends.size:
            longer = ends[ends >= length]
            longer = longer[tokens[longer - length] == tokens[-1 - length]]
            if longer.size == 0:
                break
            ends, length = longer, length + 1
        if ends.size == 0 or length < self.min_ngram:
            return []
        roomy = ends[ends < len(tokens) - wanted]
        start = 1 + int(roomy[-1] if roomy.size else ends[0])
        return [int(token) for token in tokens[start : start + wanted]]

    def _take_back(self, generation: Generation, length: int) -> None:
        sequence = generation.sequence
        if len(sequence) > length and not sequence.truncate(length):
            raise RollbackError(
                f"prompt_lookup could not take back the draft after token {length}: a cache of "
                "this pipeline cannot be rolled back. Use `cache: full` or another strategy."
            )
