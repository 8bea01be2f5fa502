"""One token of each of one or several sequences, in one run of each SPAN stage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.core.cache import Binding, Cache, Pool, TokenIndex
from triptych.core.errors import PluginError
from triptych.core.execution.prepared_call import prepare
from triptych.core.execution.span_phase import is_text
from triptych.core.execution.stage_call import Feed, Feeds
from triptych.core.graphs.device import on_cpu
from triptych.core.observer import Moment
from triptych.core.ports import Array, Port, When
from triptych.core.sequences.sequence import Column
from triptych.core.sequences.sequence import Sequence as TokenSequence
from triptych.core.wiring.cache_needs import Seen, Shown, settle
from triptych.core.wiring.needs import NOTHING, Needs
from triptych.core.wiring.wired import Read, Wired, Wiring, Write

_FILLS = {"visual_index": -1}
"""What a row without a sequence is fed, where it is not 0: no visual row."""


def why_alone(wiring: Wiring, caches: Mapping[str, Cache[Any]], rows: int) -> str | None:
    """Why no two sequences are forwarded together through these stages; None where they are.

    What the stages declare decides: each SPAN port of tokens has a B axis, each cache is a pool
    whose tensors are shared and not grown. rows: how many may be, as the file says.
    """
    places: dict[str, int] = {}
    for wired in wiring.span:
        reason = _cache_alone(wired, caches.get(wired.label))
        if reason is not None:
            return reason
        connected: list[Read | Write] = [*wired.reads, *wired.writes]
        for named in connected:
            if not _is_past(wired, named.name) and not {"B", "N"} & set(named.port.axes):
                return f"{named.name} of {wired.label} has no B axis"
        for read in wired.reads:
            axis = read.batch_axis
            if axis is not None and places.setdefault(read.port.name, axis) != axis:
                return f"{read.port.name} is read with B in two places"
    return "session.max_batch is 1" if rows == 1 else None


def _cache_alone(wired: Wired, cache: object) -> str | None:
    """Why a stage's cache holds its sequences apart."""
    label, stage = wired.label, wired.stage
    if not stage.cache_pairs:
        return None
    if not getattr(stage, "batches", True):
        return f"the past tensors of {label} grow"
    if not isinstance(cache, Pool):
        return f"the cache of {label} binds one sequence at a time"
    if any(isinstance(pair.past.axes[0], int) for pair in stage.cache_pairs):
        return f"the past tensors of {label} have no B axis"
    return None


class BatchedStep:
    """The SPAN stages, for one new token of text of each of several sequences; see `why_alone`.

    One sequence may be alone in it whatever the stages are. Stages that read visual rows are
    skipped, as they are for a token of text alone.
    """

    def __init__(
        self, wiring: Wiring, caches: Mapping[str, Cache[Any]], feeds: Feeds, shown: Shown
    ) -> None:
        self._wiring = wiring
        self._caches = caches
        self._shown = shown
        self._feeds = feeds
        self._plans: dict[int, _Plan] = {}
        self._index: list[TokenIndex] = []

    def fits(self, sequence: TokenSequence) -> bool:
        """Whether what is pending in `sequence` is one token of text, and stages make it."""
        if sequence.watch is not None and sequence.watch.stands_in:
            return False
        at = sequence.forwarded
        return sequence.entered == at + 1 and is_text(sequence, at)

    def __call__(
        self, sequences: Sequence[TokenSequence], needs: Needs = NOTHING
    ) -> list[Array] | None:
        """The logits of each, float32 [1, V], valid until the next run of the stages.

        needs: what they carry.
        None when the caches have put the sequences in different places; nothing was run then.
        """
        index = self._index_of(sequences)
        grown: list[tuple[str, Cache[Any], list[Any]]] = []
        bindings: dict[str, Binding] = {}
        for label, cache in self._caches.items():
            slots = [sequence.caches[label] for sequence in sequences]
            bindings[label] = cache.bind(slots, index)
            grown.append((label, cache, slots))
        rows, batch = _ALONE, 1
        if len(sequences) > 1:
            rows, batch = tuple(range(len(sequences))), len(sequences)
            if bindings:
                first = next(iter(bindings.values()))
                rows, batch = first.rows, first.batch
            if any((one.rows, one.batch) != (rows, batch) for one in bindings.values()):
                return None
        plan = self._plan(sequences, batch)
        if plan is None:
            return None
        plan.take(sequences, rows)
        seen = _seen(sequences)
        ports = plan.run(bindings, seen)
        # Only now, so that a stage that fails leaves no cache longer than another.
        for label, cache, slots in grown:
            shown = self._row_of(label, sequences, ports, rows) if label in self._shown else ()
            settle(cache, slots, shown)
        for sequence in sequences:
            sequence.forwarded += 1
        if seen is not None:
            _show(seen, sequences, rows)
        logits = ports["logits"]
        return [needs.beside(logits[row], ports, row) for row in rows]

    def _index_of(self, sequences: Sequence[TokenSequence]) -> list[TokenIndex]:
        """Where each sequence's token belongs, as caches ask for it."""
        while len(self._index) < len(sequences):
            self._index.append(np.zeros(1, np.int64))
        for sequence, row in zip(sequences, self._index, strict=False):
            row[0] = sequence.forwarded
        return self._index[: len(sequences)]

    def _row_of(
        self,
        label: str,
        sequences: Sequence[TokenSequence],
        ports: Mapping[str, Array],
        rows: Sequence[int],
    ) -> list[Seen]:
        """What a cache is shown of each sequence, its table's columns of the token included."""
        shown = []
        for sequence, row in zip(sequences, rows, strict=True):
            table, at = sequence.table, sequence.forwarded
            names = self._shown.names & table.keys()
            columns = {name: table[name].between(at, at + 1) for name in names}
            shown.append(self._shown.of(label, {**columns, **ports}, row))
        return shown

    def _plan(self, sequences: Sequence[TokenSequence], batch: int) -> _Plan | None:
        """How `batch` rows are forwarded; None when not all sequences have the same ports."""
        table = sequences[0].table
        for sequence in sequences[1:]:
            if sequence.table.keys() != table.keys():
                return None
        plan = self._plans.get(batch)
        if plan is None or plan.names != table.keys():
            plan = self._plans[batch] = _Plan(self._wiring, self._feeds, table, batch)
        return plan


class _Plan:
    """What is prepared once for steps of `batch` rows: memory for their tokens, and the calls.

    names: the columns of their tables. places: for each column that a stage reads, the part of
    the stage's array that is each row's, without the axis of tokens.
    """

    def __init__(
        self, wiring: Wiring, feeds: Feeds, table: Mapping[str, Column], batch: int
    ) -> None:
        self.names = set(table)
        self._places: list[tuple[str, list[Array]]] = []
        self._arrays: dict[tuple[str, int | None], Array] = {}
        self._stacks: list[tuple[str, Array]] = []
        self._rows: tuple[int, ...] = ()
        self._calls = prepare(
            wiring.span,
            feeds,
            {"logit_index", *table},
            {"B": batch, "S": 1, "N": 0, "R": 1},
            lambda feed: self._steady(feed, table, batch),
        )

    def take(self, sequences: Sequence[TokenSequence], rows: tuple[int, ...]) -> None:
        """Let the next run forward what is pending: one token of each, at its row."""
        if rows != self._rows:
            # Forget what rows were fed that are no sequence's now.
            for name, stack in self._stacks:
                stack.fill(_FILLS.get(name, 0))
            self._rows = rows
        for row, sequence in zip(rows, sequences, strict=True):
            table, at = sequence.table, sequence.forwarded
            for name, places in self._places:
                places[row][...] = table[name].row(at)

    def run(
        self, bindings: Mapping[str, Binding], seen: list[_Run] | None = None
    ) -> dict[str, Array]:
        """Run the stages; what they wrote, by the pipeline's names. seen: gets what each wrote."""
        ports: dict[str, Array] = {}
        for one in self._calls:
            begin = 0.0 if seen is None else time.perf_counter()
            written = one(ports, bindings.get(one.wired.label))
            if seen is not None:
                seconds = time.perf_counter() - begin
                seen.append(_Run(one.wired, on_cpu(written), begin, seconds))
            if one.wired.drops:
                self._check_kept(one.wired, written.pop("keep_tokens"))
            ports.update(written)
        return ports

    def _check_kept(self, wired: Wired, keep: Array) -> None:
        """Each row has one token, whose logits are wanted."""
        if not keep.reshape(-1)[list(self._rows)].all():
            raise PluginError(
                f"stage {wired.label} wrote keep_tokens without a token whose logits are wanted"
            )

    def _steady(self, feed: Feed, table: Mapping[str, Column], batch: int) -> Array:
        """The array for what a stage reads of the tables, the same for all that read it."""
        key = feed.port, feed.batch_axis
        if key not in self._arrays:
            one = table[feed.port].between(0, 1) if feed.port in table else _FIRST
            axis = feed.batch_axis
            shape = one.shape if axis is None else (*one.shape[:axis], batch, *one.shape[axis:])
            stack = self._arrays[key] = np.zeros(shape, one.dtype)
            if feed.port in table:
                places = [stack] if axis is None else list(np.moveaxis(stack, axis, 0))
                tokens = table[feed.port].axis
                of_token = [np.moveaxis(place, tokens, 0)[0, ...] for place in places]
                self._places.append((feed.port, of_token))
                self._stacks.append((feed.port, stack))
        return self._arrays[key]


_ALONE: tuple[int, ...] = (0,)
"""The row of one sequence."""

_FIRST = np.zeros(1, np.int64)
"""`logit_index` of a slice of one token."""


@dataclass(frozen=True, eq=False)
class _Run:
    """What a stage wrote in a step that is watched, when it began, and the seconds it took."""

    wired: Wired
    written: Mapping[str, Array]
    began: float
    seconds: float


def _seen(sequences: Sequence[TokenSequence]) -> list[_Run] | None:
    """Where a step notes what stages write; None where nobody watches a sequence."""
    for sequence in sequences:
        if sequence.watch is not None:
            return []
    return None


def _show(seen: Sequence[_Run], sequences: Sequence[TokenSequence], rows: Sequence[int]) -> None:
    """Let who watches a sequence see its row of what was written."""
    for row, sequence in zip(rows, sequences, strict=True):
        if sequence.watch is None:
            continue
        at = sequence.forwarded - 1
        tokens = sequence.table["input_ids"].between(at, at + 1)
        source = sequence.table["source"].between(at, at + 1)
        for run in seen:
            ports = tuple(write.port for write in run.wired.writes)
            own = {
                port.name: _row(port, run.written[port.name], row)
                for port in ports
                if port.name in run.written
            }
            moment = Moment(run.wired.label, ports, sequence, When.SPAN, tokens, source, _FIRST)
            moment.began, moment.seconds = run.began, run.seconds
            sequence.watch.show(moment, own)


def _row(port: Port, value: Array, row: int) -> Array:
    """What a port has of one row of the batch, with its axis B."""
    if "B" not in port.axes:
        return value
    one: Array = value[(*(slice(None),) * port.axes.index("B"), slice(row, row + 1))]
    return one


def _is_past(wired: Wired, name: str) -> bool:
    return any(name == pair.past.name for pair in wired.stage.cache_pairs)
