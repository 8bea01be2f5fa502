"""Speculation from a list of phrases."""

from typing import Annotated

from pydantic import Field

import triptych


class Phrases:
    """Once a reply has said the beginning of a phrase, the rest of it is drafted.

    The chain chooses at each row of the pass as it would one by one, and the first token that
    differs from the draft ends it, so the tokens are those of plain decoding.
    """

    class Settings(triptych.Settings):
        """phrases: texts. begin: how many tokens of one must have been said."""

        phrases: list[Annotated[str, Field(min_length=1)]] = Field(
            min_length=1, examples=[["the capital of"]]
        )
        begin: int = Field(default=1, ge=1)

    # It takes drafts back, which a cache that evicts may not be able to do.
    speculates = True
    neutral = {}

    def __init__(self, settings):
        self.settings = settings
        self.phrases = []

    def load(self, processor):
        """Phrases as tokens, with and without the space that they may follow."""
        texts = [mark + text for text in self.settings.phrases for mark in ("", " ")]
        self.phrases = [processor.encode(text) for text in texts]

    def run(self, generation):
        """One request."""
        sequence, chain = generation.sequence, generation.chain
        while True:
            # One place stays free for the token that is chosen after the whole draft.
            draft = self.draft(chain.tokens[chain.prompt_length :].tolist())
            draft = draft[: max(sequence.room - 1, 0)]
            sequence.append(draft)
            [rows] = yield [triptych.Span(sequence, rows=len(draft) + 1)]
            # Counted now: a pass may have pruned visual tokens of the prompt.
            before = len(sequence) - len(draft)
            for place, row in enumerate(rows):
                token = chain.choose(row)
                agreed = draft[place : place + 1] == [token]
                if not agreed:
                    sequence.truncate(before + place)
                    sequence.append([token])
                if generation.emit(token):
                    sequence.truncate(before + place + 1)
                    return
                if not agreed:
                    break

    def draft(self, said):
        """The rest of the phrase whose beginning was said last; of several, the longest said."""
        for length in range(min(len(said), max(map(len, self.phrases), default=0)), 0, -1):
            for phrase in self.phrases:
                if (
                    self.settings.begin <= length < len(phrase)
                    and said[-length:] == phrase[:length]
                ):
                    return phrase[length:]
        return []
