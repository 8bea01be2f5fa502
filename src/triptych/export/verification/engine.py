"""Runs a pipeline beside its reference: each stage by itself, then all of them on their own.

A stage by itself reads what the reference computed for the stages before it, so an error shows
where it is made and nowhere else. It is the runtime that runs it: its phases, its caches, its
merge and its positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from triptych.core.ports import Array
from triptych.export.verification.case import Case
from triptych.export.verification.comparison import Compared, Kind
from triptych.export.verification.reference import Course, Forward, Reference
from triptych.export.verification.spelling import spelled
from triptych.export.verification.tapped import Fault, Forced, Heard, TappedPipeline
from triptych.export.verification.tolerances import EXACT

ROWS = 128
"""Logits of so many of a prompt's last tokens are compared."""
PROMPT_LOGITS = "logits of the prompt"
STEP_LOGITS = "logits of each step"
TOKENS = "greedy tokens"
WHOLE = "pipeline"
"""The stage of what all stages together do."""
PROCESSOR = "processor"


class Engine:
    """Compares one pipeline with one reference.

    steps: how many tokens are decoded after each prompt. tolerance: two logits that are closer
    than this, relative to the largest, may change places when tokens are chosen. logits: the
    tolerance of logits, where it is another.
    """

    def __init__(
        self,
        pipeline: TappedPipeline,
        reference: Reference,
        *,
        steps: int,
        tolerance: float,
        logits: float | None = None,
    ) -> None:
        self._pipeline, self._reference = pipeline, reference
        self._steps, self._tolerance, self._logits_tolerance = steps, tolerance, logits
        self.notes: list[str] = []
        """What could not be compared, and why."""

    @property
    def order(self) -> list[str]:
        """The stages in data-flow order, as they are named in what is compared."""
        return [PROCESSOR, *self._pipeline.labels, WHOLE]

    def compare(self, cases: Iterable[Case]) -> Iterator[Compared]:
        """Everything that both sides compute, case by case."""
        for case in cases:
            yield from self._processed(case)
            course = self._reference.run(case, steps=self._steps, rows=ROWS)
            yield from self._compare(case, self._spelled(course))

    def _spelled(self, course: Course) -> Course:
        """The same, by the pipeline's own names of ports."""

        def renamed(one: Forward) -> Forward:
            return Forward(one.logits, spelled(one.ports, self._pipeline.known))

        return Course(renamed(course.prompt), [renamed(one) for one in course.steps], course.tokens)

    def _processed(self, case: Case) -> Iterator[Compared]:
        if case.request is None:
            if self._pipeline.processor is None:
                self._note(f"the processor is not compared: {self._pipeline.no_processor}")
            return
        theirs = self._reference.processed(case.request)
        if theirs is None:
            self._note("the processor is not compared: the other side has none that can be loaded")
            return
        ids = _with_placeholders_once(case) if theirs.placeholders_once else case.ids
        yield Compared(PROCESSOR, "input_ids", case.name, ids, theirs.ids)
        for port, expected in theirs.ports.items():
            if port in case.media:
                actual = case.media[port]
                yield Compared(PROCESSOR, port, case.name, actual, expected, tolerance=EXACT)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _compare(self, case: Case, course: Course) -> Iterator[Compared]:
        prompt, steps = case.prompt, course.tokens[:-1]
        free, chosen = self._alone(case, len(course.tokens))
        forced = self._pipeline.sequence()
        try:
            forced.append(prompt.tokens, prompt.media)
            rows = len(course.prompt.logits)
            heard = self._pipeline.forward(
                forced, rows=rows, forced=_aligned(course.prompt, free[0])
            )
            yield from self._ports(case.name, heard, course.prompt, carried=free[0])
            if heard.fault is not None:
                yield _broken(heard.fault, case.name)
                return
            carried = free[0].logits
            yield self._logits(PROMPT_LOGITS, case.name, heard, course.prompt, carried)
            for number, token in enumerate(steps):
                where = f"{case.name}, step {number + 1}"
                expected = course.steps[number]
                forced.append([int(token)])
                like = free[number + 1] if number + 1 < len(free) else None
                heard = self._pipeline.forward(forced, rows=1, forced=_aligned(expected, like))
                yield from self._ports(where, heard, expected)
                if heard.fault is not None:
                    yield _broken(heard.fault, where)
                    return
                yield self._logits(STEP_LOGITS, where, heard, expected)
        finally:
            forced.close()
        yield self._tokens(case.name, chosen, course)

    def _alone(self, case: Case, count: int) -> tuple[list[Heard], Array]:
        """The pipeline on its own outputs: what each pass wrote, and `count` greedy tokens."""
        sequence = self._pipeline.sequence()
        chosen: list[int] = []
        passes: list[Heard] = []
        try:
            sequence.append(case.prompt.tokens, case.prompt.media)
            while len(chosen) < count:
                rows = 1 if passes else min(ROWS, len(case.ids))
                passes.append(self._pipeline.forward(sequence, rows=rows))
                logits = passes[-1].logits
                if logits is None:
                    break
                chosen.append(int(logits[-1].argmax()))
                sequence.append(chosen[-1:])
        finally:
            sequence.close()
        return passes, np.array(chosen, np.int64)

    def _ports(
        self, case: str, heard: Heard, expected: Forward, *, carried: Heard | None = None
    ) -> Iterator[Compared]:
        """What the stages wrote beside what they should have written, aligned at the last."""
        last = self._pipeline.labels[0]
        for port, wanted in expected.ports.items():
            written = heard.values(port)
            if not written:
                if heard.fault is None:
                    yield from self._unwritten(case, port, wanted[-1], last)
                continue
            last = written[-1].stage
            drifted = [] if carried is None else carried.values(port)
            for back in range(1, min(len(written), len(wanted)) + 1):
                one = written[-back]
                own = drifted[-back].value if len(drifted) >= back else None
                yield from self._split(case, one.stage, port, one.value, wanted[-back], own)

    def _split(
        self,
        case: str,
        stage: str,
        port: str,
        actual: Array,
        expected: Array,
        carried: Array | None,
    ) -> Iterator[Compared]:
        """DeepStack's layers one by one; all else whole."""
        axis = self._pipeline.layer_axis(port)
        # A stage without a graph moves rows and counts; nothing there is rounded.
        tolerance = None if stage in self._pipeline.with_graphs else min(EXACT, self._tolerance)
        same = actual.shape == expected.shape and (carried is None or carried.shape == actual.shape)
        if axis is None or not same:
            yield Compared(
                stage, port, case, actual, expected, carried=carried, tolerance=tolerance
            )
            return
        for layer in range(expected.shape[axis]):
            yield Compared(
                stage,
                f"{port}[{layer}]",
                case,
                actual.take(layer, axis),
                expected.take(layer, axis),
                carried=None if carried is None else carried.take(layer, axis),
                tolerance=tolerance,
            )

    def _unwritten(self, case: str, port: str, expected: Array, last: str) -> Iterator[Compared]:
        """A port that the reference has and the pipeline's stages did not write.

        last: the stage that wrote the port before it. Positions and rows may be made inside of a
        decoder; what was seen in a picture has to be handed on.
        """
        readers = self._pipeline.readers(port)
        if not readers and port in {"position_ids", "inputs_embeds", "next_position"}:
            return
        labels = self._pipeline.labels
        stage = labels[max(0, labels.index(readers[0]) - 1)] if readers else last
        yield Compared(stage, port, case, None, expected, note="no stage wrote it")

    def _logits(
        self,
        port: str,
        case: str,
        heard: Heard,
        expected: Forward,
        carried: Array | None = None,
    ) -> Compared:
        stage = self._pipeline.wiring.logits_from
        return Compared(
            stage,
            port,
            case,
            heard.logits,
            expected.logits,
            Kind.LOGITS,
            carried=carried,
            tolerance=self._logits_tolerance,
        )

    def _tokens(self, case: str, chosen: Array, course: Course) -> Compared:
        logits = [course.prompt.logits[-1], *(step.logits[-1] for step in course.steps)]
        closest = self._tolerance if self._logits_tolerance is None else self._logits_tolerance
        tie = _tie(chosen, course.tokens, logits, closest)
        return Compared(
            WHOLE,
            TOKENS,
            case,
            chosen,
            course.tokens,
            Kind.TOKENS,
            counted=tie,
            note="" if tie is None else "the two likeliest are closer than the tolerance",
        )


def _with_placeholders_once(case: Case) -> Array:
    """The ids with the first placeholder of each media item and none of its others."""
    kept = np.ones(len(case.ids), bool)
    for item in case.prompt.media:
        kept[item.at[1:]] = False
    ids: Array = case.ids[kept]
    return ids


def _aligned(expected: Forward, heard: Heard | None) -> Forced:
    """What stands in for each value of a port, when a pass on its own wrote as many as `heard`.

    The last value is the one that is read in the end, so values are aligned there.
    """
    forced: dict[str, Sequence[Array | None]] = {}
    for port, wanted in expected.ports.items():
        count = len(heard.values(port)) if heard is not None else 0
        surplus = max(0, count - len(wanted))
        forced[port] = [*[None] * surplus, *wanted[max(0, len(wanted) - count) :]]
    return forced


def _broken(fault: Fault, case: str) -> Compared:
    return Compared(fault.stage, "runs", case, None, np.zeros(0, np.float32), note=fault.message)


def _tie(chosen: Array, expected: Array, logits: Sequence[Array], tolerance: float) -> int | None:
    """Where they part on two logits that are closer than the tolerance; else None.

    What follows such a tie says nothing.
    """
    shared = min(len(chosen), len(expected))
    parted = np.flatnonzero(chosen[:shared] != expected[:shared])
    if not parted.size:
        return None
    at = int(parted[0])
    row = logits[at]
    close = row[expected[at]] - row[chosen[at]] <= tolerance * np.abs(row).max()
    return at if close else None
