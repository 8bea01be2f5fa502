"""One run in time: which stage ran when, how long, and what it handed on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triptych.core.observer import Asked, Moment, Observer
from triptych.core.ports import Array
from triptych.recording.passes import Passes

if TYPE_CHECKING:
    from triptych.core.reply import Reply


@dataclass(frozen=True)
class Handed:
    """What was written to a port. bytes: of its numbers."""

    port: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Event:
    """One call of a stage, or what the core or the processor gave.

    begin: in seconds since the run began. seconds: None of what no stage made.
    """

    step: int
    phase: str
    writer: str
    begin: float
    seconds: float | None
    handed: tuple[Handed, ...]


@dataclass(frozen=True)
class Row:
    """A stage over the steps of one kind. seconds: the median. calls: how often it ran."""

    phase: str
    writer: str
    calls: int
    seconds: float | None
    handed: tuple[Handed, ...]


class Trace(Observer):
    """An observer that notes when stages run. seconds: of the whole run, once it has ended."""

    ports = None

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.prompt_tokens = 0
        self.new_tokens = 0
        self.seconds = 0.0
        self._begin = 0.0
        self._passes: Passes | None = None

    def begin(self, asked: Asked) -> None:
        """See `Observer`."""
        self._passes = Passes(asked.pipeline.wiring, len(asked.prompt.tokens))
        self.prompt_tokens = len(asked.prompt.tokens)
        self._begin = time.perf_counter()

    def saw(self, moment: Moment, written: Mapping[str, Array]) -> None:
        """See `Observer`."""
        assert self._passes is not None  # noqa: S101 - `begin` made it
        walk, _ = self._passes.enter(moment)
        stage = moment.writer in self._passes.labels
        self.events.append(
            Event(
                walk.step,
                walk.phase,
                moment.writer,
                moment.began - self._begin,
                moment.seconds if stage else None,
                tuple(
                    Handed(name, value.dtype.name, value.shape, value.nbytes)
                    for name, value in written.items()
                ),
            )
        )

    def end(self, reply: Reply) -> None:
        """See `Observer`."""
        self.seconds = time.perf_counter() - self._begin
        self.new_tokens = len(reply.tokens)

    @property
    def steps(self) -> int:
        """How many tokens were forwarded after the prompt."""
        return max((event.step for event in self.events), default=0)

    def rows(self, *, prompt: bool) -> list[Row]:
        """Each stage over the prompt's slices, or over the steps after it."""
        found: dict[tuple[str, str], list[Event]] = {}
        for event in self.events:
            if (event.step == 0) == prompt:
                found.setdefault((event.phase, event.writer), []).append(event)
        return [
            Row(phase, writer, len(events), _median(events), events[0].handed)
            for (phase, writer), events in found.items()
        ]

    def outside(self, *, prompt: bool) -> float:
        """Seconds between stages: of the prompt, or of one step in the median."""
        steps: dict[int, list[Event]] = {}
        for event in self.events:
            if (event.step == 0) == prompt and event.seconds is not None:
                steps.setdefault(event.step, []).append(event)
        spans = [
            events[-1].begin
            + (events[-1].seconds or 0.0)
            - events[0].begin
            - sum(event.seconds or 0.0 for event in events)
            for events in steps.values()
        ]
        return statistics.median(spans) if spans else 0.0

    def chrome(self) -> dict[str, Any]:
        """The run as the Trace Event Format has it, for chrome://tracing and Perfetto."""
        return {"traceEvents": list(self._chrome_events()), "displayTimeUnit": "ms"}

    def _chrome_events(self) -> Iterator[dict[str, Any]]:
        names = {"input": 1, "span": 2}
        for phase, number in names.items():
            yield {
                "name": "thread_name",
                "ph": "M",
                "pid": 1,
                "tid": number,
                "args": {"name": phase.upper()},
            }
        for event in self.events:
            if event.seconds is None:
                continue
            yield {
                "name": event.writer,
                "cat": event.phase,
                "ph": "X",
                "pid": 1,
                "tid": names[event.phase],
                "ts": round(event.begin * 1e6, 3),
                "dur": round(event.seconds * 1e6, 3),
                "args": {
                    "step": event.step,
                    "bytes": sum(one.bytes for one in event.handed),
                    **{one.port: str(one) for one in event.handed},
                },
            }


def _median(events: list[Event]) -> float | None:
    seconds = [event.seconds for event in events if event.seconds is not None]
    return statistics.median(seconds) if seconds else None
