"""Checking a draft: one pass over all of it, and the choices that plain decoding would make."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from triptych.core.errors import PluginError
from triptych.core.spans import Generation, Logits, Span


class RollbackError(PluginError):
    """A cache could not take back the tokens of a draft."""


def verify(
    generation: Generation, draft: Sequence[int], strategy: str
) -> Generator[list[Span], list[Logits], tuple[list[int], bool]]:
    """Forward what is pending and `draft`; the tokens that are committed, and whether it ended.

    The chain chooses at each row of the pass as it would one by one, and the first token that
    differs from the draft ends the step. So every choice sees the same logits, the same committed
    tokens and the same random numbers as in plain decoding, and is the same.

    strategy: its name, for messages. Raises RollbackError.
    """
    sequence, chain = generation.sequence, generation.chain
    if draft:
        sequence.append(draft)
    [rows] = yield [Span(sequence, rows=len(draft) + 1)]
    # Counted now: a pass may have pruned visual tokens of the prompt.
    before = len(sequence) - len(draft)
    committed: list[int] = []
    for place, row in enumerate(rows):
        token = chain.choose(row)
        committed.append(token)
        agreed = place < len(draft) and token == draft[place]
        if not agreed:
            _take_back(generation, before + place, strategy)
            sequence.append([token])
        if generation.emit(token):
            _take_back(generation, before + place + 1, strategy)
            return committed, True
        if not agreed:
            break
    return committed, False


def _take_back(generation: Generation, length: int, strategy: str) -> None:
    sequence = generation.sequence
    if len(sequence) > length and not sequence.truncate(length):
        raise RollbackError(
            f"{strategy} could not take back the draft after token {length}: a cache of "
            "this pipeline cannot be rolled back. Use `cache: full` or another strategy."
        )
