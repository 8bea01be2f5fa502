"""One token of each of several sequences, in one run of each SPAN stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from triptych.core.cache import Binding, Cache, Pool
from triptych.core.errors import PluginError
from triptych.core.needs import NOTHING, Needs
from triptych.core.ports import Array
from triptych.core.sequence import Column
from triptych.core.sequence import Sequence as TokenSequence
from triptych.core.span_phase import from_cache, is_text
from triptych.core.stage_call import Feeds, call
from triptych.core.wired import CACHE_PORTS, Read, Wired, Wiring, Write

_FILLS = {"visual_index": -1}
"""What a row without a sequence is fed, where it is not 0: no visual row."""


def why_alone(wiring: Wiring, caches: Mapping[str, Cache[Any]]) -> str | None:
    """Why sequences cannot be forwarded together through these stages; None where they can.

    What the stages declare decides: each SPAN port of tokens has a B axis, each cache is a pool
    in the memory of the CPU, and its tensors are shared and not grown.
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
    return None


def _cache_alone(wired: Wired, cache: object) -> str | None:
    """Why a stage's cache holds its sequences apart."""
    label, stage = wired.label, wired.stage
    device = getattr(stage, "device", "cpu")
    if not stage.cache_pairs:
        return None
    if device != "cpu":
        return f"{label} keeps its cache on {device}"
    if not getattr(stage, "batches", True):
        return f"the past tensors of {label} grow"
    if not isinstance(cache, Pool):
        return f"the cache of {label} binds one sequence at a time"
    if any(isinstance(pair.past.axes[0], int) for pair in stage.cache_pairs):
        return f"the past tensors of {label} have no B axis"
    return None


class BatchedStep:
    """The SPAN stages, for one new token of each of several sequences; see `why_alone`.

    Stages that read visual rows are skipped, as they are for a token of text alone, and so these
    tokens are text.
    """

    def __init__(self, wiring: Wiring, caches: Mapping[str, Cache[Any]]) -> None:
        self._stages = tuple(_stacked(wired) for wired in wiring.span)
        self._caches = caches
        self._feeds = Feeds(wiring.sizes)
        reads = {read.port.name: read for wired in wiring.span for read in wired.reads}
        written = {write.port.name for wired in wiring.span for write in wired.writes}
        cached = {port.name for port in CACHE_PORTS}
        self._inputs = {
            name: read.batch_axis
            for name, read in reads.items()
            if name not in written | cached and read.batch_axis is not None
        }
        self._stacks: dict[int, _Stacked] = {}
        self._index = np.zeros((0, 1), np.int64)

    def fits(self, sequence: TokenSequence) -> bool:
        """Whether what is pending in `sequence` is one token of text."""
        at = sequence.forwarded
        return sequence.entered == at + 1 and is_text(sequence, at)

    def __call__(
        self, sequences: Sequence[TokenSequence], needs: Needs = NOTHING
    ) -> list[Array] | None:
        """The logits of each, float32 [1, V], valid until the next run of the stages.

        needs: what they carry.
        None when the caches have put the sequences in different places; nothing was run then.
        """
        bindings = self._bind(sequences)
        rows, batch = tuple(range(len(sequences))), len(sequences)
        if bindings:
            first = next(iter(bindings.values()))
            rows, batch = first.rows, first.batch
            if any((one.rows, one.batch) != (rows, batch) for one in bindings.values()):
                return None
        ports = self._ports(sequences, rows, batch)
        if ports is None:
            return None
        self._run(ports, bindings, rows, batch)
        # Only now, so that a stage that fails leaves no cache longer than another.
        for label, cache in self._caches.items():
            cache.settle([sequence.caches[label] for sequence in sequences])
        for sequence in sequences:
            sequence.forwarded += 1
        logits = ports["logits"]
        return [needs.beside(logits[row], ports, row) for row in rows]

    def _bind(self, sequences: Sequence[TokenSequence]) -> dict[str, Binding]:
        """What each cache gives its stage, by the stage's label."""
        if len(sequences) > len(self._index):
            self._index = np.zeros((2 * len(sequences), 1), np.int64)
        index = list(self._index[: len(sequences)])
        for row, sequence in zip(index, sequences, strict=True):
            row[0] = sequence.forwarded
        return {
            label: cache.bind([sequence.caches[label] for sequence in sequences], index)
            for label, cache in self._caches.items()
        }

    def _run(
        self,
        ports: dict[str, Array],
        bindings: Mapping[str, Binding],
        rows: tuple[int, ...],
        batch: int,
    ) -> None:
        """Run the stages, and add to `ports` what they write."""
        lengths = {"B": batch, "S": 1, "N": 0, "R": 1}
        for wired in self._stages:
            feeds = self._feeds.of(wired, ports, lengths)
            if feeds is None:
                continue
            binding = bindings.get(wired.label)
            if binding is not None:
                feeds.update(binding.pasts)
                feeds.update(from_cache(wired, binding.ports))
            written = call(wired, feeds)
            if wired.drops and not written.pop("keep_tokens").reshape(batch)[list(rows)].all():
                # Each has one token, whose logits are wanted.
                raise PluginError(
                    f"stage {wired.label} wrote keep_tokens without a token whose logits are wanted"
                )
            ports.update(written)

    def _ports(
        self, sequences: Sequence[TokenSequence], rows: tuple[int, ...], batch: int
    ) -> dict[str, Array] | None:
        """The sequences' rows of each port, stacked on B; None when not all have the same."""
        table = sequences[0].table
        if any(sequence.table.keys() != table.keys() for sequence in sequences[1:]):
            return None
        stacked = self._stacks.get(batch)
        if stacked is None or stacked.names != table.keys():
            stacked = self._stacks[batch] = _Stacked(self._inputs, table, batch)
        stacked.clear_others(rows)
        for name, places in stacked.places.items():
            for row, sequence in zip(rows, sequences, strict=True):
                at = sequence.forwarded
                places[row][...] = sequence.table[name].between(at, at + 1)
        return dict(stacked.ports)


class _Stacked:
    """What the stages of `batch` rows are fed of the sequences' tables; reused step by step.

    places: for each port, the part of it that is each row's.
    """

    def __init__(self, inputs: Mapping[str, int], table: Mapping[str, Column], batch: int) -> None:
        self.names = set(table)
        self.ports: dict[str, Array] = {}
        self.places: dict[str, list[Array]] = {}
        self._rows: tuple[int, ...] = ()
        for name, axis in inputs.items():
            if name == "logit_index":
                self.ports[name] = np.zeros((batch, 1), np.int64)
            elif name in table:
                one = table[name].between(0, 1)
                stack = np.empty((*one.shape[:axis], batch, *one.shape[axis:]), one.dtype)
                self.ports[name] = stack
                self.places[name] = list(np.moveaxis(stack, axis, 0))

    def clear_others(self, rows: tuple[int, ...]) -> None:
        """Forget what rows were fed that are no sequence's now."""
        if rows != self._rows:
            for name in self.places:
                self.ports[name].fill(_FILLS.get(name, 0))
            self._rows = rows


def _stacked(wired: Wired) -> Wired:
    """The same stage, for ports that have their B already."""
    return replace(wired, reads=tuple(replace(read, batch_axis=None) for read in wired.reads))


def _is_past(wired: Wired, name: str) -> bool:
    return any(name == pair.past.name for pair in wired.stage.cache_pairs)
