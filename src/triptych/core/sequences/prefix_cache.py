"""What later prompts may begin with: sequences that are kept with their caches."""

from __future__ import annotations

from collections.abc import Iterable

from triptych.core.dataclass import dataclass
from triptych.core.prompt import Prompt
from triptych.core.sequences.sequence import Sequence

DEFAULT_BYTES = 512 * 2**20

WORTH_A_COPY = 16
"""Tokens that a copy of another's caches must save: forwarding as many takes a hundred times as
long as copying their rows, and a copy takes memory, too."""


@dataclass(eq=False)
class _Idle:
    """A sequence that waits for a prompt that begins as it does.

    owned: somebody else, a chat, goes on with it; it is copied from, and never taken.
    """

    sequence: Sequence
    owned: bool


class PrefixCache:
    """Finds for each prompt the sequence that shares most of it. One caller at a time.

    A sequence whose generation has ended stays, with its slots. A prompt takes it over, cuts it
    back to what both share, and forwards the rest: nothing is copied. A longer one, which would
    lose more than it gives, one that is still in use, and a chat's are copied from instead, if
    that saves `WORTH_A_COPY` tokens. What is shared is told by tokens and the content of media.

    Where few tokens are computed otherwise than many (`Sequence.retake`), only prompts are shared,
    and not replies, and the last tokens of a prompt are forwarded again, together.

    max_bytes: what kept sequences may hold together, the least recently used go first; 0 keeps
        none. A chat's do not count: they go only when their slots are needed.
    token_bytes: what one token takes in all caches.
    """

    def __init__(self, max_bytes: int, token_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.token_bytes = token_bytes
        self._idle: list[_Idle] = []
        self._live: dict[int, Sequence] = {}
        self._prompts: dict[int, Prompt] = {}

    @property
    def bytes(self) -> int:
        """What kept sequences hold now, without those of chats."""
        return sum(self._size(one.sequence) for one in self._idle if not one.owned)

    def begin(self, sequence: Sequence, prompt: Prompt) -> None:
        """Make `sequence` `prompt`, of which it may have a prefix, its own or one that was kept.

        It is in use from now on, until `end`.
        """
        self._purge(sequence)
        if self.max_bytes and len(prompt.tokens) >= sequence.retake:
            candidates = [one for one in self._idle if self._is_exact(one)]
            best = max(candidates, key=lambda one: one.sequence.shared_prefix(prompt), default=None)
            if best is not None and _gives_more(best.sequence, sequence, prompt):
                # Most recently used, so that it is there when `join` asks for it.
                self._idle.remove(best)
                if self._may_be_taken(best, prompt):
                    sequence.take_over(best.sequence)
                else:
                    self._idle.append(best)
            self._prompts[id(sequence)] = prompt
        sequence.align(prompt)
        self._live[id(sequence)] = sequence

    def join(self, sequence: Sequence) -> None:
        """Copy what another sequence has of its prompt, if that is worth it.

        Called before anything of `sequence` is forwarded, as late as can be, so that it finds
        what others forwarded meanwhile.
        """
        prompt = self._prompts.pop(id(sequence), None)
        if prompt is None:
            return
        others = [one for one in self._live.values() if one is not sequence]
        others += [one.sequence for one in self._idle if self._is_exact(one)]
        best = max(others, key=lambda one: one.shared_prefix(prompt), default=None)
        if best is None or best.shared_prefix(prompt) - sequence.reused < WORTH_A_COPY:
            return
        drafted = sequence.given[len(prompt.tokens) :]
        idle = next((one for one in self._idle if one.sequence is best), None)
        self._purge(best)  # The slots of the copy may take another's, and not those of this one.
        try:
            sequence.clear()
            if idle is not None and self._may_be_taken(idle, prompt):
                sequence.take_over(best)
            else:
                sequence.take_over(best.copy())
                if sequence.retake:
                    sequence.cut_reply()
        finally:
            if idle is not None and best.caches:
                self._idle.append(idle)
            sequence.align(prompt)
            sequence.append(drafted)

    def end(self, sequence: Sequence, *, owned: bool = False) -> None:
        """Keep a sequence that is no more in use; close what there is no room for.

        owned: somebody goes on with it later, by `begin`; it is not closed.
        """
        self._live.pop(id(sequence), None)
        self._prompts.pop(id(sequence), None)
        sequence.close_forks()
        if sequence.retake and not owned:
            sequence.cut_reply()
            if sequence.prompted < sequence.retake:
                sequence.close()
        if not owned and self._size(sequence) > self.max_bytes:
            sequence.close()
        self._purge(sequence)
        if sequence.caches:
            self._idle.append(_Idle(sequence, owned))
        while self.bytes > self.max_bytes:
            self._evict(one for one in self._idle if not one.owned)

    def evict_one(self) -> bool:
        """Give back the slots of the least recently used one; False when none is kept."""
        self._purge()
        return self._evict(self._idle)

    def clear(self) -> None:
        """Give back all that is kept."""
        while self.evict_one():
            pass

    @staticmethod
    def _is_exact(one: _Idle) -> bool:
        """Whether its rows are those of a prompt, as the same tokens in a prompt need them.

        Those of a reply were forwarded one by one, which matters where there is a `retake`.
        """
        return not (one.owned and one.sequence.retake)

    @staticmethod
    def _may_be_taken(one: _Idle, prompt: Prompt) -> bool:
        """Whether nobody else has it, and it has no more to lose than it gives."""
        return not one.owned and one.sequence.shareable <= 2 * one.sequence.shared_prefix(prompt)

    def _evict(self, candidates: Iterable[_Idle]) -> bool:
        for one in candidates:
            self._idle.remove(one)
            one.sequence.clear()
            return True
        return False

    def _purge(self, sequence: Sequence | None = None) -> None:
        """Forget `sequence`, and those that were closed by whom they belong to."""
        self._idle = [
            one for one in self._idle if one.sequence is not sequence and one.sequence.caches
        ]

    def _size(self, sequence: Sequence) -> int:
        return sequence.forwarded * self.token_bytes


def _gives_more(one: Sequence, other: Sequence, prompt: Prompt) -> bool:
    return one.shared_prefix(prompt) > other.shared_prefix(prompt)
