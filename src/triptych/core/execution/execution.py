"""Running the stages: tokens enter a sequence, slices of it are forwarded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from triptych.core.cache import Cache, Pool
from triptych.core.clock import Clock
from triptych.core.dataclass import dataclass
from triptych.core.errors import InputError, PluginError
from triptych.core.execution.batched_step import BatchedStep, why_alone
from triptych.core.execution.input_phase import InputPhase
from triptych.core.execution.media_stages import media_port
from triptych.core.execution.span_phase import SpanPhase
from triptych.core.execution.stage_call import Feeds
from triptych.core.graphs.device import on_cpu
from triptych.core.observer import check_names
from triptych.core.ports import Array, Port
from triptych.core.prompt import Prompt
from triptych.core.sequences.feature_cache import FeatureCache
from triptych.core.sequences.sequence import Sequence
from triptych.core.wiring.cache_needs import Shown
from triptych.core.wiring.needs import Needs
from triptych.core.wiring.placement import Placement, device_of, kept_on_device, placements
from triptych.core.wiring.wired import REDUCTIONS, SPAN_PORTS, Wired, Wiring, port_names

SPARE = 2
"""Slots in a block for each that is forwarded at once: others are kept for later, and who comes
finds a place beside those in use."""

_NO_LOGITS = np.zeros((0, 0), np.float32)


@dataclass(eq=False)
class Executor:
    """The stages of one loaded pipeline. One caller at a time.

    caches: by the label of each stage that keeps one. offers: the processor's media ports.
    join: asked for what others have of a sequence's prompt, before anything new enters it.
    rows: how many generations are in progress at once, and forwarded together.
    memory: what their caches may take, in bytes; None: no limit.
    exact: the cache policies say that results are independent of how tokens are split; caches
        of integers make it false, because a slice sees its own keys and values unrounded.
    evict_idle: gives back the slots of one sequence that nobody uses now; whether there was one.
    shown: what cache policies need.
    """

    wiring: Wiring
    offers: tuple[Port, ...]
    caches: Mapping[str, Cache[Any]]
    max_length: int
    features: FeatureCache = field(default_factory=FeatureCache)
    join: Callable[[Sequence], None] | None = None
    rows: int = 8
    memory: int | None = None
    exact: bool = True
    evict_idle: Callable[[], bool] | None = None
    shown: Shown = field(default_factory=Shown)

    def __post_init__(self) -> None:
        feeds = Feeds(self.wiring.sizes)
        self._input = InputPhase(self.wiring, self.offers, feeds, self.features)
        self._span = SpanPhase(self.wiring, self.caches, feeds, self.shown)
        self.alone_because = why_alone(self.wiring, self.caches, self.rows)
        """Why no two sequences are forwarded together; None where they are."""
        self._step = BatchedStep(self.wiring, self.caches, feeds, self.shown)
        # What is rounded on its way into a cache is exact for the slice that it came with alone.
        self.exact = self.exact and all(
            pair.past.dtype.startswith(("float", "bfloat"))
            for wired in self.wiring.stages
            for pair in wired.stage.cache_pairs
        )
        self._needs = Needs()
        self._pools = [cache for cache in self.caches.values() if isinstance(cache, Pool)]
        for pool in self._pools:
            pool.evict_idle = self.make_room
            if self.alone_because is None:
                pool.lay_out(self._slots(pool))
        self._hand_over()

    def _slots(self, pool: Pool) -> int:
        """How many slots a pool reserves side by side: on a device, that takes their memory."""
        on_device = any(
            device_of(wired) != "cpu" and id(self.caches.get(wired.label)) == id(pool)
            for wired in self.wiring.span
        )
        if not on_device:
            return SPARE * self.rows
        whole = pool.bytes_per_token * self.max_length
        most = self.rows if self.memory is None else self.memory // max(whole, 1)
        return max(1, min(self.rows, most))

    def sequence(self) -> Sequence:
        """A new, empty sequence."""
        return Sequence(self.max_length, shares_prefix=not self.wiring.whole)

    def enter(self, sequence: Sequence, clock: Clock) -> None:
        """Pass what was appended to `sequence` through the INPUT stages, into its table."""
        if self.join is not None:
            self.join(sequence)
        self._input.enter(sequence, clock)

    def room(self, sequence: Sequence) -> int:
        """How many tokens one forward may add now."""
        return self._span.room(sequence)

    def forward(self, sequence: Sequence, stop: int, rows: int, clock: Clock) -> Array:
        """Forward the tokens from ``sequence.forwarded`` up to `stop`.

        Returns the logits of the last `rows` of them, float32 [rows, V], valid until the next
        run of the stage that wrote them; nothing where none are wanted.
        """
        begin = time.perf_counter()
        # One token of text is a step, in company or not.
        alone = self._step([sequence], self._needs) if self._step.fits(sequence) else None
        if alone is not None:
            logits = alone[0]
        else:
            ports = self._span.ports(sequence, stop, rows)
            sequence.forwarded = stop
            # A decoder that takes no `logit_index` gives the logits of the whole slice.
            logits = _NO_LOGITS
            if rows:
                logits = self._needs.beside(ports["logits"][0][-rows:], ports)
        clock.forward += time.perf_counter() - begin
        if len(logits) < rows:
            raise PluginError(
                f"the stages wrote {len(logits)} rows of 'logits' where {rows} were wanted"
            )
        return logits

    def together(self, sequences: list[Sequence]) -> list[list[int]]:
        """Which of `sequences`, by index, are to be forwarded by one `step`.

        All of them have one pending token each, which has passed the INPUT stages.
        """
        if self.alone_because or len(sequences) == 1:
            return [[index] for index in range(len(sequences))]
        fit = [
            index
            for index, one in enumerate(sequences)
            if self._step.fits(one) and self._span.room(one) > 0
        ]
        groups = [[index] for index in range(len(sequences)) if index not in fit]
        if fit:
            found = self._span.together([sequences[index] for index in fit])
            groups += [[fit[index] for index in group] for group in found]
        return groups

    def step(self, sequences: list[Sequence], clocks: Iterable[Clock]) -> list[Array] | None:
        """Forward the one pending token of each of several sequences, in one run of each stage.

        Returns the logits of each, float32 [1, V], valid as those of `forward` are; None when
        they cannot be forwarded together after all. When a stage raises, all are as they were.
        """
        begin = time.perf_counter()
        logits = self._step(sequences, self._needs)
        seconds = time.perf_counter() - begin
        for clock in clocks:
            clock.forward += seconds
        return logits

    def need(self, ports: Iterable[Port]) -> None:
        """From now on, logits carry a row of each of these ports, too."""
        found = {port.name: port for port in ports}
        if not found.keys() <= self._needs.names:
            self.wiring.want(found)
            self._needs = self._needs.with_ports(found.values())
            self._hand_over()

    def observe(self, names: Iterable[str]) -> None:
        """From now on, these ports are computed, if they are on demand. Raises InputError."""
        wanted = set(names)
        check_names(wanted, self.port_names())
        self.wiring.want(wanted)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Where each port of each stage lives, and what is copied when."""
        return placements(self.wiring, self._read_here)

    @property
    def _read_here(self) -> frozenset[str]:
        """The ports that the core reads for samplers, strategies and caches."""
        return self._needs.names | self.shown.names

    def _hand_over(self) -> None:
        """Let graphs on one device give each other what they write there."""
        for wired in self.wiring.span:
            if device_of(wired) != "cpu":
                kept = kept_on_device(wired, self.wiring, self._read_here)
                getattr(wired.stage, "keep_on_device", _nothing)(kept)

    @property
    def bytes_per_token(self) -> int:
        """What one token of one sequence takes in all caches that say so."""
        return sum(pool.bytes_per_token for pool in self._pools)

    @property
    def cache_bytes(self) -> int:
        """What all sequences have in the caches, those that are idle, too."""
        return sum(pool.used for pool in self._pools)

    def make_room(self) -> bool:
        """Give back the slots of a sequence that nobody uses now; False when there is none."""
        return self.evict_idle is not None and self.evict_idle()

    def probe(self, prompt: Prompt, port: str) -> dict[str, Array]:
        """Every port that is there once `port` has its last value, for `prompt` in one slice.

        Stages after that are not run. The arrays are valid until the next run of any stage.
        Raises InputError when the prompt is longer than one slice can be.
        """
        self.wiring.want({port})
        inputs, spans = (
            self._stages_until(port, stages) for stages in (self.wiring.input, self.wiring.span)
        )
        later = spans > 0 or port in {known.name for known in SPAN_PORTS}
        sequence = self.sequence()
        try:
            sequence.append(prompt.tokens, prompt.media)
            (new,) = sequence.appended
            ports = self._input.ports(sequence, new, Clock(), None if later else inputs)
            if not later:
                for offer in self.offers:
                    if offer.name == port and port not in ports and prompt.media:
                        ports[port] = media_port(prompt.media, offer)
                return ports
            self._input.store(sequence, ports)
            if sequence.entered > self.room(sequence):
                raise InputError(
                    f"the prompt has {sequence.entered} tokens, and the cache takes "
                    f"{self.room(sequence)} at once; shorten it, or choose another cache"
                )
            return on_cpu(self._span.ports(sequence, sequence.entered, 1, spans))
        finally:
            sequence.close()

    def port_names(self) -> set[str]:
        """Every port of this pipeline, whoever writes it."""
        return port_names(self.wiring, self.offers)

    def _stages_until(self, port: str, stages: tuple[Wired, ...]) -> int:
        """How many of `stages` run until `port` has its last value; a reducer changes many."""
        declared = self._input.declared.get(port)
        reducible = declared is not None and {"S", "N"} & set(declared.axes)
        last = 0
        for count, wired in enumerate(stages, start=1):
            written = {write.port.name for write in wired.writes}
            if port in written or (reducible and written & REDUCTIONS.keys()):
                last = count
        return last


def _nothing(kept: object) -> None:
    """What a stage does that hands its outputs over in the memory of the CPU."""
