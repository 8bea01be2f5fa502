"""Runs of tokens that settings name, as text or as ids."""

from __future__ import annotations

from typing import Self

from pydantic import Field, NonNegativeInt, model_validator
from pydantic_core import PydanticCustomError

from triptych.core.config import settings as core
from triptych.core.errors import InputError
from triptych.core.sampling import Vocabulary

Run = tuple[int, ...]


class TokenRun(core.Settings):
    """A run of one or more tokens. text: as it is spelled, or ids: of the tokens."""

    text: str | None = Field(None, min_length=1)
    ids: list[NonNegativeInt] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.ids is None):
            raise PydanticCustomError("token_run", "give either `text` or `ids`")
        return self

    def tokens(self, vocabulary: Vocabulary) -> Run:
        """Their ids. Raises InputError for a text that has no token."""
        if self.text is None:
            return tuple(self.ids or ())
        return tokens_of(self.text, vocabulary)


def tokens_of(text: str, vocabulary: Vocabulary) -> Run:
    """The tokens that spell `text`. Raises InputError where there is none."""
    found = tuple(vocabulary.encode(text))
    if not found:
        raise InputError(f"the tokenizer makes no token of {text!r}; leave it out")
    return found


def completes(run: Run, tokens: list[int]) -> bool:
    """Whether the last of the run's tokens would complete it after `tokens`."""
    before = len(run) - 1
    return not before or tuple(tokens[-before:]) == run[:-1]
