"""Words that are not to be said."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context, Vocabulary
from triptych.plugins.samplers.places import without
from triptych.plugins.samplers.runs import Run, completes, tokens_of

Word = Annotated[str, Field(min_length=1)]
Ids = Annotated[list[NonNegativeInt], Field(min_length=1)]


class BadWords:
    """Drops the token that would complete a forbidden run, as transformers' bad_words_ids does.

    A text is forbidden as the tokenizer spells it, alone and after a space; other spellings of
    its letters are not. The EOS tokens cannot be forbidden.
    """

    class Settings(core.Settings):
        """words: texts. ids: runs of token ids."""

        words: list[Word] = Field(default_factory=list, examples=[["sorry"]])
        ids: list[Ids] = Field(default_factory=list)

    keeps_winner = False

    def __init__(self, settings: Settings) -> None:
        self.words = settings.words
        self.ids = settings.ids
        self.runs: set[Run] = set()
        self.longest = 0

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Find the tokens of the words."""
        texts = [spelled for word in self.words for spelled in (word, f" {word.lstrip()}")]
        self.runs = {tokens_of(text, vocabulary) for text in texts} | set(map(tuple, self.ids))
        self.runs -= {(token,) for token in vocabulary.eos_ids}
        self.longest = max((len(run) for run in self.runs), default=0)

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """Those that complete no forbidden run; all of them, where none would be left."""
        before = context.tokens[-self.longest :].tolist()
        return without(candidates, {run[-1] for run in self.runs if completes(run, before)})
