"""Plays recorded ports back, so that a part of a pipeline runs alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from triptych.core.messages import guess
from triptych.core.observer import Asked, Moment, Observer
from triptych.core.ports import Array, Port, same_dtype
from triptych.core.wiring.wired import CORE_READS, KEEP_TOKENS, REDUCTIONS, Wired, Wiring
from triptych.recording.index import Pass, RecordingError, Tensor
from triptych.recording.numbering import Numbering
from triptych.recording.recording import Recording

ALWAYS_NEEDED = {*CORE_READS, *REDUCTIONS, KEEP_TOKENS[0].name}
"""Ports that the core reads itself."""


class Replay(Observer):
    """An observer that stands in for the stages all of whose ports were recorded.

    Those whose ports then nobody reads are not run either. What belongs to a picture is found by
    the picture's content, everything else by the tokens that it was written for; where the run
    comes to other tokens than the recorded one, it ends with a RecordingError.

    source: the folder of a recording. ports: those that are played back; None: all that there are.
    It serves any number of replies.
    """

    stands_in = True

    def __init__(self, source: str | Path, *, ports: Iterable[str] | None = None) -> None:
        self.recording = Recording(source)
        self._plan: Plan | None = None
        self._sequences: WeakKeyDictionary[Any, Numbering] = WeakKeyDictionary()
        self._names = frozenset(self.recording.port_names if ports is None else ports)
        self._asked = None if ports is None else ",".join(sorted(self._names))
        self._check_names()

    @property
    def stood_in(self) -> list[str]:
        """See `Observer`: the flags that ask for it."""
        flags = f"--replay {self.recording.folder.absolute()}"
        return [flags if self._asked is None else f"{flags} --replay-ports {self._asked}"]

    def begin(self, asked: Asked) -> None:
        """See `Observer`. Raises RecordingError where the recording does not fit."""
        plan = self.plan(asked.pipeline.wiring)
        whole = [wired.label for wired in plan.wired if not wired.per_media]
        ours = [item.digest for item in asked.prompt.media]
        theirs = [item.digest for item in self.recording.media]
        if whole and ours != theirs:
            raise RecordingError(
                f"{self.recording.folder} is of other pictures than the request, or of a processor "
                f"that prepares them otherwise, and {', '.join(whole)} saw them; ask about the "
                "same ones, or replay only what belongs to a picture by itself (--replay-ports)"
            )

    def plan(self, wiring: Wiring) -> Plan:
        """What is skipped. Raises RecordingError where that is nothing."""
        if self._plan is None or self._plan.wiring is not wiring:
            self._plan = Plan(wiring, self.recording, self._names)
        return self._plan

    def skips(self, wiring: Wiring) -> list[str]:
        """The labels of the stages that are not run. Raises RecordingError where there is none."""
        return self.plan(wiring).skipped

    @property
    def skipped(self) -> list[str]:
        """The labels of the stages that were not run, in their order; known once it has begun."""
        return [] if self._plan is None else self._plan.skipped

    def instead(self, moment: Moment) -> Mapping[str, Array] | None:
        """See `Observer`. Raises RecordingError for a step that was not recorded."""
        assert self._plan is not None  # noqa: S101 - `begin` made it
        plan = self._plan
        if moment.writer in plan.unread:
            return {}
        writers = plan.writers.get(moment.writer)
        if writers is None:
            return None
        if moment.per_media:
            return self._of_media(moment, writers)
        return self._of_tokens(moment, writers)

    def _of_media(self, moment: Moment, writers: Mapping[str, str]) -> Mapping[str, Array]:
        """What belongs to each medium, found by content."""
        if not moment.media:
            return {}
        given: dict[str, Array] = {}
        for port in moment.writes:
            if port.name in writers:
                parts = [
                    self._of_item(item.digest, len(item.at), writers[port.name], port)
                    for item in moment.media
                ]
                given[port.name] = np.concatenate(parts, _media_axis(port))
        return given

    def _of_item(self, digest: str, rows: int, writer: str, port: Port) -> Array:
        for walk in self.recording.passes:
            tensor = self.recording.of(walk, writer).get(port.name)
            begin = 0
            for item in walk.media:
                if tensor is not None and item.digest == digest and item.rows == rows:
                    whole = self._array(tensor, port)
                    if len(walk.media) == 1:
                        return whole
                    if "N" in port.axes:
                        along = (slice(None),) * port.axes.index("N")
                        part: Array = whole[(*along, slice(begin, begin + rows))]
                        return part
                begin += item.rows
        raise RecordingError(
            f"{self.recording.folder} has no {port.name!r} of the request's picture (content "
            f"{digest[:12]}); record a run with it, or leave out --replay"
        )

    def _of_tokens(self, moment: Moment, writers: Mapping[str, str]) -> Mapping[str, Array]:
        """What was written for the tokens: in the same pass, else gathered from others."""
        tokens, source = moment.tokens.tolist(), moment.source.tolist()
        digests, number = [item.digest for item in moment.media], self._number(moment)
        phase = moment.when.value
        walk = self.recording.same_pass(phase, tokens, source, digests, sequence=number)
        if walk is not None:
            return self._of_pass(walk, moment, writers)
        places = list(zip(source, tokens, strict=True))
        given: dict[str, Array] = {}
        for port in moment.writes:
            if port.name not in writers:
                continue
            rows = moment.rows if "R" in port.axes else None
            if rows is not None and not len(rows):
                continue
            wanted = places if rows is None else [places[row] for row in rows.tolist()]
            found = self.recording.gathered(
                phase, writers[port.name], port.name, wanted, sequence=number
            )
            if found is None:
                raise self._lacks(moment, places)
            given[port.name] = _cast(found, port)
        return given

    def _number(self, moment: Moment) -> int | None:
        """Which of the recorded sequences it is, by the order in which they begin.

        None where the recording has fewer: tokens alone then say what belongs to them.
        """
        numbering = self._sequences.setdefault(moment.sequence.watch, Numbering())
        number = numbering.of(moment.sequence)
        return number if number in self.recording.sequences else None

    def _of_pass(
        self, walk: Pass, moment: Moment, writers: Mapping[str, str]
    ) -> Mapping[str, Array]:
        given: dict[str, Array] = {}
        for port in moment.writes:
            writer = writers.get(port.name)
            tensor = None if writer is None else self.recording.of(walk, writer).get(port.name)
            if tensor is not None:
                given[port.name] = self._array(tensor, port)
        return given

    def _array(self, tensor: Tensor, port: Port) -> Array:
        return _cast(self.recording.array(tensor), port)

    def _lacks(self, moment: Moment, places: list[tuple[int, int]]) -> RecordingError:
        """The error for tokens that were not recorded."""
        known = dict(self.recording.tokens)
        remedy = (
            "a replayed port fits the tokens that it was recorded for: record this run, or replay "
            "ports that do not depend on the answer (--replay-ports)"
        )
        for place, token in places:
            if (place, token) not in self.recording.tokens:
                there = f"token {known[place]}" if place in known else "nothing"
                return RecordingError(
                    f"{self.recording.folder} lacks what {moment.writer} writes for token {token} "
                    f"at place {place}: it has {there} there; {remedy}"
                )
        return RecordingError(
            f"{self.recording.folder} has what {moment.writer} writes for the tokens from place "
            f"{places[0][0]} to {places[-1][0]} only in other slices; set session.chunk as it was, "
            "or record this run"
        )

    def _check_names(self) -> None:
        for name in sorted(self._names):
            known = self.recording.port_names
            if name not in known:
                hint = guess(name, known)
                raise RecordingError(
                    f"{self.recording.folder} has no port {name!r}{hint} (ports: "
                    f"{', '.join(known)})"
                )


class Plan:
    """Which stages of a pipeline are not run.

    writers: by the label of each stage that is played back, who wrote each of its ports in the
    recording. unread: labels of those whose ports nobody reads then.
    """

    def __init__(self, wiring: Wiring, recording: Recording, names: frozenset[str]) -> None:
        self.wiring = wiring
        self.writers: dict[str, Mapping[str, str]] = {}
        self.wired: list[Wired] = []
        self.unread: set[str] = set()
        written: dict[str, int] = {}
        lacking: list[str] = []
        for wired in wiring.stages:
            found: dict[str, str] = {}
            ports = [port for port in _ports(wired) if port.name in names]
            for port in _ports(wired):
                nth = written.get(port.name, 0)
                written[port.name] = nth + 1
                writer = _writer(recording, port.name, wired.label, nth)
                if port.name in names and writer is not None:
                    found[port.name] = writer
            if ports and len(found) == len(_ports(wired)):
                self.writers[wired.label] = found
                self.wired.append(wired)
                _check_shapes(recording, wired, found)
            elif found:
                rest = [port.name for port in _ports(wired) if port.name not in found]
                lacking.append(f"{wired.label} writes {', '.join(rest)}, too")
        if not self.writers:
            why = "; ".join(lacking) or "no stage of this pipeline writes one of its ports"
            raise RecordingError(
                f"{recording.folder} replays no stage whole: {why}. Record all that a stage writes"
            )
        self._find_unread()

    @property
    def skipped(self) -> list[str]:
        """The labels of all stages that are not run, in their order."""
        return [
            wired.label
            for wired in self.wiring.stages
            if wired.label in self.writers or wired.label in self.unread
        ]

    def _find_unread(self) -> None:
        needed = set(ALWAYS_NEEDED)
        for wired in reversed(self.wiring.stages):
            if wired.label in self.writers:
                continue
            if needed.isdisjoint(write.port.name for write in wired.writes):
                self.unread.add(wired.label)
            else:
                needed.update(read.port.name for read in wired.reads)


def _ports(wired: Wired) -> list[Port]:
    """What a stage writes in this pipeline: of ports on demand, those that are read."""
    return [
        write.port
        for write in wired.writes
        if not write.port.on_demand or write.port.name in wired.wanted
    ]


def _writer(recording: Recording, port: str, label: str, nth: int) -> str | None:
    """Who wrote a port: who is called the same, else who did as the nth in their order."""
    writers = recording.writers(port)
    if label in writers:
        return label
    return writers[nth] if nth < len(writers) else None


def _check_shapes(recording: Recording, wired: Wired, writers: Mapping[str, str]) -> None:
    """Raises RecordingError for a port of other axes, sizes or kind of numbers."""
    for port in _ports(wired):
        tensor = next(
            one
            for one in recording.tensors
            if one.port == port.name and one.writer == writers[port.name]
        )
        fits = len(tensor.shape) == len(port.axes) and all(
            not isinstance(axis, int) or axis == size
            for axis, size in zip(port.axes, tensor.shape, strict=True)
        )
        if not fits or not _castable(tensor.dtype, port.dtype):
            raise RecordingError(
                f"{recording.folder} has {port.name!r} as {tensor.dtype} {list(tensor.shape)}, and "
                f"{wired.label} writes {port}; it is of another model"
            )


def _castable(recorded: str, wanted: str) -> bool:
    return same_dtype(recorded, wanted) or (
        recorded.startswith("float") and wanted.startswith("float")
    )


def _cast(value: Array, port: Port) -> Array:
    """A recorded value in the precision that the pipeline has."""
    return value if port.dtype == "float" else value.astype(port.dtype, copy=False)


def _media_axis(port: Port) -> int:
    return port.axes.index("N") if "N" in port.axes else 0
