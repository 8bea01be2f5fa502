"""A pipeline that is listened to: what each of its stages writes, and what they are made to read.

The runtime's own phases, caches and wiring run; only the stages stand behind taps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from triptych.core.assembly.assembly import Assembly, assemble
from triptych.core.clock import Clock
from triptych.core.config.part import Part
from triptych.core.config.spec import PipelineSpec
from triptych.core.errors import TriptychError
from triptych.core.execution.execution import Executor
from triptych.core.ports import Array, Port, When
from triptych.core.prompt import Processor, Prompt
from triptych.core.request import Request
from triptych.core.sequences.feature_cache import FeatureCache
from triptych.core.sequences.sequence import Sequence as TokenSequence
from triptych.core.wiring.wired import INPUT_PORTS, Read, Wired, Wiring, Write

Forced = Mapping[str, Sequence[Array | None]]
"""By port: what is passed on in place of its first, second, ... value; None: what was written."""


@dataclass(frozen=True, eq=False)
class Written:
    """One value that a stage wrote. stage: its label in the pipeline."""

    stage: str
    port: str
    value: Array


@dataclass(frozen=True, eq=False)
class Fault:
    """A stage that raised."""

    stage: str
    message: str


@dataclass(eq=False)
class Heard:
    """One forward pass: what was written, in order, and the logits f32 [R, V] of its last tokens.

    fault: why it ended early; there are no logits then.
    """

    written: list[Written] = field(default_factory=list)
    logits: Array | None = None
    fault: Fault | None = None

    def values(self, port: str) -> list[Written]:
        """What the port held, oldest first."""
        return [one for one in self.written if one.port == port]


class TappedPipeline:
    """A loaded pipeline whose stages can be listened to.

    processor: None for a folder that has none that can be used; `no_processor` says why.
    labels: of the stages, in the order in which they run; with_graphs: of those that have an ONNX
    graph. known: the ports that they read or write.
    """

    def __init__(self, spec: PipelineSpec) -> None:
        """Builds, checks and loads. Raises ConfigError and GraphError."""
        self.processor, self.no_processor = _processor(spec)
        assembly = _assembled(spec, self.processor)
        loaded = assembly.load()
        self._taps = _Taps()
        self._executor = Executor(
            _tapped(loaded.wiring, self._taps),
            loaded.offers,
            loaded.caches,
            loaded.max_length,
            # A result that is kept would not pass the taps again.
            FeatureCache(max_bytes=0),
        )
        self.wiring = loaded.wiring
        self.offers = loaded.offers
        self.labels = [wired.label for wired in loaded.wiring.stages]
        self.with_graphs = {
            wired.label for wired in self.wiring.stages if hasattr(wired.stage, "graph")
        }
        self.known = {
            end.port.name
            for wired in self.wiring.stages
            for ends in (wired.reads, wired.writes)
            for end in cast("tuple[Read | Write, ...]", ends)
        }

    def sequence(self) -> TokenSequence:
        """A new, empty sequence. Close it."""
        return self._executor.sequence()

    def forward(self, sequence: TokenSequence, *, rows: int, forced: Forced | None = None) -> Heard:
        """Forwards all that is pending, in one slice. rows: tokens that logits are wanted of."""
        heard = self._taps.listen(forced or {})
        try:
            self._executor.enter(sequence, Clock())
            logits = self._executor.forward(sequence, len(sequence), rows, Clock())
            heard.logits = np.array(logits, np.float32)
        except TriptychError as error:
            heard.fault = Fault(self._taps.entered or self.labels[0], str(error))
        return heard

    @property
    def vocabulary(self) -> int:
        """How many tokens the model has; 1 where its graph does not say."""
        sizes = [
            write.port.axes[-1]
            for wired in self.wiring.span
            for write in wired.writes
            if write.port.name == "logits"
        ]
        return next((size for size in sizes if isinstance(size, int)), 1)

    def layer_axis(self, port: str) -> int | None:
        """The axis of a port that counts DeepStack layers, by whoever calls it so."""
        for wired in self.wiring.stages:
            for known in (*[read.port for read in wired.reads], *[w.port for w in wired.writes]):
                if known.name == port and "K" in known.axes:
                    return known.axes.index("K")
        return None

    def readers(self, port: str) -> list[str]:
        """The stages that read a port, in order."""
        return [
            wired.label
            for wired in self.wiring.stages
            if port in {read.port.name for read in wired.reads}
        ]


class _Taps:
    """Where the tapped stages of one pipeline report to."""

    def __init__(self) -> None:
        self.entered: str | None = None
        self._heard = Heard()
        self._forced: Forced = {}
        self._counts: dict[str, int] = {}

    def listen(self, forced: Forced) -> Heard:
        """Begin anew; returns what will be filled."""
        self.entered, self._heard, self._forced, self._counts = None, Heard(), forced, {}
        return self._heard

    def passed_on(self, wired: Wired, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the stages after `wired` read."""
        passed = dict(given)
        for write in wired.writes:
            port = write.port.name
            if port == "logits" or write.name not in given:
                continue
            value = given[write.name]
            value = np.array(value if isinstance(value, np.ndarray) else np.from_dlpack(value))
            self._heard.written.append(Written(wired.label, port, value))
            count = self._counts[port] = self._counts.get(port, 0) + 1
            wanted = self._forced.get(port, ())[count - 1 : count]
            if wanted and wanted[0] is not None and wanted[0].shape == value.shape:
                passed[write.name] = np.asarray(wanted[0], value.dtype)
        return passed


class _Tapped:
    """A stage behind a tap; in all else it is the stage."""

    def __init__(self, wired: Wired, taps: _Taps) -> None:
        self._wired, self._taps = wired, taps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wired.stage, name)

    def __call__(self, ports: Mapping[str, Array]) -> Mapping[str, Array]:
        self._taps.entered = self._wired.label
        given: Any = self._wired.stage(ports)
        return self._taps.passed_on(self._wired, given) if isinstance(given, Mapping) else given


def _tapped(wiring: Wiring, taps: _Taps) -> Wiring:
    def behind(stages: tuple[Wired, ...]) -> tuple[Wired, ...]:
        return tuple(replace(wired, stage=cast("Any", _Tapped(wired, taps))) for wired in stages)

    return replace(wiring, input=behind(wiring.input), span=behind(wiring.span))


def _processor(spec: PipelineSpec) -> tuple[Processor | None, str]:
    """The pipeline's processor, or None and why there is none."""
    try:
        return spec.processor.make(), ""
    except TriptychError as error:
        return None, str(error)


def _assembled(spec: PipelineSpec, processor: Processor | None) -> Assembly:
    made = processor or _TokensOnly(_unwritten(spec.stages))
    return assemble(replace(spec, processor=cast("Any", _Made(made))))


@dataclass(frozen=True)
class _Made:
    """Stands for a processor that is there already."""

    processor: Processor

    def make(self) -> Processor:
        return self.processor


class _TokensOnly:
    """Stands for a processor where there is none: prompts are given as token ids.

    offers: what its media may hold.
    """

    eos_ids: frozenset[int] = frozenset()
    max_context: int | None = None

    def __init__(self, offers: tuple[Port, ...]) -> None:
        self.offers = offers

    def prompt(self, request: Request) -> Prompt:
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def decode(self, tokens: Sequence[int]) -> str:
        raise NotImplementedError


def _unwritten(parts: Sequence[Part]) -> tuple[Port, ...]:
    """The ports that stages read on input and that no stage writes: the media's."""
    known = {port.name for port in INPUT_PORTS}
    offers: dict[str, Port] = {}
    for part in parts:
        stage = part.make()
        if stage.when is not When.INPUT:
            continue
        for port in stage.reads:
            change = part.ports.get(port.name)
            name = port.name if change is None else change.port
            if name not in known and name not in offers:
                offers[name] = replace(port, name=name, absent=None)
        known |= {port.name for port in stage.writes}
    return tuple(offers.values())
