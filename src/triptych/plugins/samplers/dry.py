"""Do not repeat yourself: the longer a run repeats, the rarer its next token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from triptych.core.config import settings as core
from triptych.core.sampling import Candidates, Context, Vocabulary
from triptych.plugins.samplers.places import places

BREAKERS = ["\n", ":", '"', "*"]
"""What llama.cpp and text-generation-webui never count a repetition across."""

_LONGEST = 50
"""Tokens of a match that count; the penalty is beyond all logits long before."""


class Dry:
    """The DRY sampler (proposed by p-e-w, text-generation-webui pull request 5637).

    Where the last n tokens were there before, takes multiplier * base ** (n - allowed) from the
    token that came next then, if n is at least `allowed`. A run never reaches across a breaker: the
    last token of a breaker's text, as it is spelled after another letter. The prompt counts, too.
    """

    class Settings(core.Settings):
        """See the class. window: how many of the last tokens are looked at; 0 is all of them."""

        multiplier: float = Field(ge=0, allow_inf_nan=False)
        base: float = Field(1.75, ge=1, allow_inf_nan=False)
        allowed: int = Field(2, ge=1)
        breakers: list[Annotated[str, Field(min_length=1)]] = Field(default=BREAKERS)
        window: int = Field(0, ge=0)

    keeps_winner = False
    neutral: ClassVar[Mapping[str, float]] = {"multiplier": 0.0}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.breaks: frozenset[int] = frozenset()

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Find the breakers' tokens."""
        spelled = [vocabulary.encode("a" + text) for text in self.settings.breakers]
        self.breaks = frozenset(tokens[-1] for tokens in spelled if tokens)

    def __call__(self, candidates: Candidates, context: Context) -> Candidates:
        """The same tokens, those that would go on repeating with other logits."""
        ours = self.settings
        matches = longest_matches(context.tokens[-ours.window :], self.breaks)
        due = {token: length for token, length in matches.items() if length >= ours.allowed}
        at, which = places(candidates, list(due))
        if not ours.multiplier or not at.size:
            return candidates
        over = np.array(list(due.values()))[which] - ours.allowed
        logits = candidates.logits.astype(np.float64)
        logits[at] -= ours.multiplier * np.power(ours.base, over)
        return candidates.with_logits(logits)


def longest_matches(
    tokens: np.ndarray[tuple[int], np.dtype[np.int64]], breaks: frozenset[int]
) -> dict[int, int]:
    """For each token that followed what the end of `tokens` repeats: how much that is at most."""
    found: dict[int, int] = {}
    if len(tokens) < 2 or int(tokens[-1]) in breaks:  # noqa: PLR2004 - one token repeats nothing
        return found
    ids = tokens.tolist()
    for end in np.flatnonzero(tokens[:-1] == tokens[-1]).tolist():
        following = ids[end + 1]
        if following in breaks:
            continue
        length = 1
        while length < min(_LONGEST, end + 1):
            token = ids[end - length]
            if token != ids[-1 - length] or token in breaks:
                break
            length += 1
        found[following] = max(length, found.get(following, 0))
    return found
