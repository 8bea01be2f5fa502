"""A pipeline's tokens in the form that llguidance works on."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from triptych.core.errors import InputError
from triptych.core.sampling import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_MADE: WeakKeyDictionary[Vocabulary, LLTokenizer] = WeakKeyDictionary()
"""By vocabulary: a large one takes seconds."""


def grammar_tokens(vocabulary: Vocabulary) -> LLTokenizer:
    """The tokens, made once for each pipeline.

    Raises InputError for a processor that does not show its tokenizer.
    """
    found = _MADE.get(vocabulary)
    if found is None:
        from llguidance import LLTokenizer

        source = getattr(vocabulary, "tokenizer_json", None)
        if not isinstance(source, str):
            raise InputError(
                f"constrain: the processor {type(vocabulary).__name__} does not offer "
                "`tokenizer_json`, the tokenizer in the format of the tokenizers library"
            )
        found = _MADE[vocabulary] = LLTokenizer(source, eos_token=sorted(vocabulary.eos_ids))
    return found
