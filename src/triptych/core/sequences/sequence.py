"""What grows: a table of per-token ports, the visual rows, and what is still to be forwarded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from triptych.core.errors import InputError
from triptych.core.ports import Array
from triptych.core.prompt import Media, Prompt

if TYPE_CHECKING:
    from triptych.core.observer import Watch

Tokens = npt.NDArray[np.int64]

TEXT = np.full(1, -1, np.int64)
"""int64 [1]: the visual row of a token of text: none."""
TEXT.flags.writeable = False

_LISTS = (np.ndarray, list)
"""Of what numpy makes an array as it is."""


class Column:
    """A tensor that grows along one axis, in amortised constant time.

    first: where an array like it has its first row.
    """

    # A step asks five columns, which it finds sooner without a dict in each.
    __slots__ = (
        "_buffer",
        "_forgotten",
        "_held",
        "_others",
        "_places",
        "_room",
        "_rows",
        "_rows_first",
        "_shown",
        "axis",
        "first",
    )

    def __init__(self, first: Array, axis: int) -> None:
        self.axis = axis
        self._forgotten = 0
        self._held = int(first.shape[axis])
        """How many rows there are behind those that are forgotten."""
        self._others = (slice(None),) * axis
        self.first: tuple[Any, ...] = (*self._others, 0)
        self._rows_first = (axis, *[other for other in range(first.ndim) if other != axis])
        self._keep(first.copy())

    @property
    def last(self) -> Array:
        """A read-only view of the last row."""
        return self.between(len(self) - 1, len(self))

    @property
    def values(self) -> Array:
        """A read-only view of what is there; valid until the next `extend`."""
        return self.between(self._forgotten, len(self))

    def __len__(self) -> int:
        return self._forgotten + self._held

    def row(self, at: int) -> Any:
        """A read-only view of one row, without the growing axis; of one number, that number."""
        return self._rows[at - self._forgotten]

    def number(self, at: int) -> int:
        """The number in a row, of a column that has one number in each."""
        number: int = self._shown.item(at - self._forgotten)
        return number

    def between(self, start: int, stop: int) -> Array:
        """A read-only view of the rows from `start` to `stop` along the growing axis."""
        hidden = self._forgotten
        view: Array = self._shown[(*self._others, slice(start - hidden, stop - hidden))]
        return view

    def add(self, row: Any) -> None:
        """Append one row, given without the growing axis."""
        at = self._held
        if at == self._room:
            self._grow(at + 1)
        self._places[at] = row
        self._held = at + 1

    def extend(self, more: Array) -> None:
        """Append rows."""
        begin = self._held
        end = begin + more.shape[self.axis]
        if end > self._room:
            self._grow(end)
        self._buffer[(*self._others, slice(begin, end))] = more
        self._held = end

    def extend_with_zeros(self, count: int) -> None:
        """Append `count` rows of zeros."""
        shape = list(self._buffer.shape)
        shape[self.axis] = count
        self.extend(np.zeros(shape, self._buffer.dtype))

    def truncate(self, length: int) -> None:
        """Keep the first `length` rows."""
        length = min(len(self), length)
        self._forgotten = min(self._forgotten, length)
        self._held = length - self._forgotten

    def forget(self) -> None:
        """Give the memory of the rows back; they keep their places, and nobody reads them again."""
        if self._held:
            self._forgotten, self._held = len(self), 0
            self._keep(np.compress([], self._buffer, self.axis))

    def copy(self) -> Column:
        """An independent copy."""
        copied = Column(self.values, self.axis)
        copied._forgotten = self._forgotten
        return copied

    def _grow(self, length: int) -> None:
        """Make room for `length` rows, and for as many again as there are."""
        shape = list(self._buffer.shape)
        shape[self.axis] = max(length, 2 * shape[self.axis])
        grown = np.empty(shape, self._buffer.dtype)
        grown[(*self._others, slice(0, self._held))] = self.values
        self._keep(grown)

    def _keep(self, buffer: Array) -> None:
        """Have the rows in `buffer`; what is shown of it is read-only."""
        self._buffer, self._shown = buffer, buffer.view()
        self._shown.flags.writeable = False
        self._room = buffer.shape[self.axis]
        self._rows = self._shown.transpose(self._rows_first)
        self._places = buffer.transpose(self._rows_first)


@dataclass(eq=False, slots=True)
class Appended:
    """Tokens that were appended together and have not passed the INPUT stages yet."""

    tokens: Tokens
    media: tuple[Media, ...] = ()
    start: int = 0
    """The index of its first token among the tokens as they were given."""


@dataclass(frozen=True)
class _Placed:
    """Where a media item lies among the tokens as they were given."""

    digest: str
    first: int
    last: int


@dataclass(eq=False)
class Sequence:
    """One growing sequence of tokens: a prompt, what was generated, later turns.

    Its table holds, per token, `input_ids`, `visual_index`, `next_position`, `source` (the
    token's index among the tokens as they were given, before any was pruned), and each port
    with an S axis that an INPUT stage wrote. `rows` holds the ports with an N axis.

    max_length: the most tokens it may hold.
    entered: tokens that have passed the INPUT stages, as many as the table has rows.
    forwarded: those of them that have passed the SPAN stages.
    caches: one slot per stage that keeps a cache, by the stage's label; each counts its own
        rows and answers `truncate(length) -> bool`, `fork()` and `close()`.
    """

    max_length: int
    table: dict[str, Column] = field(default_factory=dict)
    rows: dict[str, Column] = field(default_factory=dict)
    caches: dict[str, Any] = field(default_factory=dict)
    forwarded: int = 0
    entered: int = 0
    appended: list[Appended] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    shares_prefix: bool = True
    retake: int = 0
    """How many of a prompt's last tokens are forwarded together, those that are known included."""
    reused: int = 0
    """How many tokens of the prompt that it was last aligned with are not forwarded again."""
    prompted: int = 0
    """How many tokens that prompt has."""
    watch: Watch | None = None
    """Who sees what stages write for it."""
    _placed: list[_Placed] = field(default_factory=list)
    _forks: list[Sequence] = field(default_factory=list)

    def __len__(self) -> int:
        """Tokens in the table and those waiting to enter it."""
        length = self.entered
        for one in self.appended:
            length += len(one.tokens)
        return length

    @property
    def visual_rows(self) -> int:
        """How many visual rows the tokens that have entered stand for."""
        return 1 + int(self.table["visual_index"].values.max(initial=-1)) if self.entered else 0

    @property
    def tokens(self) -> Tokens:
        """int64 [len(self)]: every token's id, those not forwarded yet included."""
        parts = [one.tokens for one in self.appended]
        if "input_ids" in self.table:
            parts.insert(0, self.table["input_ids"].values)
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    @property
    def pending(self) -> int:
        """How many tokens are still to be forwarded."""
        return len(self) - self.forwarded

    @property
    def shareable(self) -> int:
        """How many tokens, as they were given, are forwarded: what another prompt may share."""
        return self._given_until(self.forwarded) if self.forwarded else 0

    @property
    def room(self) -> int:
        """How many tokens may still be appended."""
        return self.max_length - len(self)

    def append(self, tokens: Iterable[int], media: Iterable[Media] = ()) -> None:
        """Add tokens at the end, and the media that some of them stand for.

        `Media.at` counts within `tokens`. Raises InputError when there is no room.
        """
        ids = np.array(tokens if isinstance(tokens, _LISTS) else list(tokens), np.int64)
        ids.flags.writeable = False
        length = len(self) + len(ids)
        if length > self.max_length:
            raise InputError(
                f"the sequence would hold {length} tokens, more than the {self.max_length} it has "
                "room for; shorten the request, or raise session.max_context"
            )
        shown = tuple([item for item in media if len(item.at)]) if media else ()
        if self.rows:
            self._forget_rows()
        start = len(self.given)
        if shown:
            self._placed += [_placed(item, start) for item in shown]
        self.given.extend(ids.tolist())
        self.appended.append(Appended(ids, shown, start))

    def truncate(self, length: int) -> bool:
        """Keep the first `length` tokens; every column and cache goes back with them.

        False when a cache has already evicted what the shorter sequence would need: the
        sequence is then empty, and its tokens must be appended anew.
        """
        if length >= len(self):
            return True
        self._drop_appended(keep=length - self.entered)
        if length < self.entered:
            kept = [slot.truncate(min(length, self.forwarded)) for slot in self.caches.values()]
            if not all(kept):
                self.clear()
                return False
            self._cut_table(length)
        return True

    def align(self, prompt: Prompt) -> int:
        """Become `prompt`, keeping the longest prefix that is the same already.

        Tokens and media digests are compared; the cut never falls inside an image, and one
        token at least stays pending. Returns how many forwarded tokens were kept.
        """
        shared = self.shared_prefix(prompt)
        if shared:
            sources = self.table["source"].values[: self.forwarded]
            length = int(np.searchsorted(sources, shared))
            shared = shared if self.truncate(length) else 0
        if not shared:
            self.clear()
        kept = self.forwarded
        self.reused = shared
        self._forget(shared)
        later = [item for item in prompt.media if len(item.at) and item.at[0] >= shared]
        self.append(prompt.tokens[shared:], [item.moved(-shared) for item in later])
        self.prompted = len(prompt.tokens)
        if self.forwarded > len(self) - self.retake:
            kept = self._step_back(max(len(self) - self.retake, 0))
        return kept

    def fork(self) -> Sequence:
        """An independent copy; copies its caches.

        Close it when it is needed no more. What is still open when the generation ends is
        closed with the sequence that it was made of.
        """
        fork = self.copy()
        fork.watch = self.watch
        self._forks = [*(one for one in self._forks if one.caches), fork]
        return fork

    def copy(self) -> Sequence:
        """An independent copy that nobody closes but its owner; copies the caches."""
        return Sequence(
            max_length=self.max_length,
            table={name: column.copy() for name, column in self.table.items()},
            rows={name: column.copy() for name, column in self.rows.items()},
            caches={label: slot.fork() for label, slot in self.caches.items()},
            forwarded=self.forwarded,
            entered=self.entered,
            appended=list(self.appended),
            given=list(self.given),
            shares_prefix=self.shares_prefix,
            retake=self.retake,
            prompted=self.prompted,
            _placed=list(self._placed),
        )

    def cut_reply(self) -> None:
        """Keep no more than the prompt that it was last aligned with."""
        if self.entered:
            self.truncate(int(np.searchsorted(self.table["source"].values, self.prompted)))

    def take_over(self, other: Sequence) -> None:
        """Become what `other` is, which is empty from then on; nothing is copied."""
        self.clear()
        for name in ("table", "rows", "caches", "appended", "given", "_placed"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)
        self.forwarded, other.forwarded = other.forwarded, 0
        self.entered, other.entered = other.entered, 0
        self.prompted = other.prompted

    def clear(self) -> None:
        """Forget everything; the caches go back to their pools."""
        self._give_back()
        self.table, self.rows, self.appended = {}, {}, []
        self.given, self._placed, self.forwarded, self.entered = [], [], 0, 0

    def close(self) -> None:
        """Give the caches back, those of its forks, too. Safe to call twice."""
        self._give_back()
        self.close_forks()

    def close_forks(self) -> None:
        """Give the caches of its forks, and of theirs, back."""
        for fork in self._forks:
            fork.close()
        self._forks = []

    def _give_back(self) -> None:
        for slot in self.caches.values():
            slot.close()
        self.caches = {}

    def shared_prefix(self, prompt: Prompt) -> int:
        """How many of the given tokens, all forwarded, `prompt` begins with.

        Media count as their digests, and as a whole; the prompt's last token is never shared.
        """
        if not self.forwarded or not self.shares_prefix:
            return 0
        limit = min(self._given_until(self.forwarded), len(prompt.tokens) - 1)
        same = np.asarray(self.given[:limit], np.int64) == prompt.tokens[:limit]
        shared = limit if same.all() else int(np.argmin(same))
        theirs = [_placed(item) for item in prompt.media if len(item.at)]
        for index in range(max(len(theirs), len(self._placed))):
            ours = self._placed[index] if index < len(self._placed) else None
            new = theirs[index] if index < len(theirs) else None
            if ours == new and ours is not None and ours.last < shared:
                continue
            firsts = [item.first for item in (ours, new) if item is not None]
            return min([shared, *firsts])
        return shared

    def _step_back(self, length: int) -> int:
        """Forward the tokens from `length` on again; the table has them. Returns `length`."""
        kept = [slot.truncate(length) for slot in self.caches.values()]
        if all(kept):
            self.forwarded = length
            self.reused = self._given_until(length) if length else 0
        return self.forwarded

    def _forget_rows(self) -> None:
        """Give the visual rows back that have been forwarded: no slice reads them again.

        A sequence that is cut back before them gets them anew, with the tokens.
        """
        if self.forwarded >= self.entered and not self.retake:
            for column in self.rows.values():
                column.forget()

    def _drop_appended(self, *, keep: int) -> None:
        """Keep the first `keep` of the tokens that have not entered the table."""
        kept: list[Appended] = []
        for one in self.appended:
            if keep > 0:
                kept.append(_first(one, keep))
            keep -= len(one.tokens)
        dropped = sum(len(one.tokens) for one in self.appended)
        dropped -= sum(len(one.tokens) for one in kept)
        self.appended = kept
        self._forget(len(self.given) - dropped)

    def _cut_table(self, length: int) -> None:
        self._forget(self._given_until(length))
        visual_rows = int(self.table["visual_index"].values[:length].max(initial=-1)) + 1
        for column in self.table.values():
            column.truncate(length)
        for column in self.rows.values():
            column.truncate(visual_rows)
        self.entered = length
        self.forwarded = min(self.forwarded, length)

    def _given_until(self, length: int) -> int:
        """How many of the given tokens, pruned ones too, lie before place `length` of the table."""
        sources = self.table["source"].values
        if length < len(sources):
            return int(sources[length])
        return self.appended[0].start if self.appended else len(self.given)

    def _forget(self, given: int) -> None:
        """Keep the first `given` of the tokens as they were given."""
        del self.given[given:]
        # A media item that is cut stays known, as one that no prompt has.
        self._placed = [
            item if item.last < given else replace(item, last=given - 1)
            for item in self._placed
            if item.first < given
        ]


def _placed(item: Media, start: int = 0) -> _Placed:
    return _Placed(item.digest, start + int(item.at[0]), start + int(item.at[-1]))


def _first(one: Appended, count: int) -> Appended:
    """The first `count` of the tokens; a media item that is cut becomes plain text."""
    if count >= len(one.tokens):
        return one
    media = tuple(item for item in one.media if item.at[-1] < count)
    return Appended(one.tokens[:count], media, one.start)


def visual_index(tokens: int, media: Iterable[Media]) -> Tokens:
    """int64 [tokens]: the row of each media token, counted over `media` in order; -1 for text."""
    if tokens == 1 and not media:
        return TEXT
    index = np.full(tokens, -1, np.int64)
    row = 0
    for item in media:
        index[item.at] = np.arange(row, row + len(item.at))
        row += len(item.at)
    return index
