"""The order of a benchmark: machine, fresh processes, then every size in turn, pair by pair."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from triptych.bench.contender import KINDS, MACHINE, Contender, Model
from triptych.bench.floor import Limits
from triptych.bench.measurement import DECODING, Measure, Result
from triptych.bench.plan import Plan
from triptych.bench.prompts import prompts

SETTLE = 0.02
"""Seconds between two contenders, in which the threads of the last one stop to spin."""

LEAST_SECONDS = 0.1
"""A value is the mean of as many runs as take the fastest contender this long."""

SHORTEST = 0.005
"""Seconds that a run is taken to last at least, so that not all too many are done."""

FRESH = {"load", "memory"}
"""Topics that need a new process for each value."""

LARGEST_VOCABULARY = 2**31
"""Until somebody says how many tokens it knows."""

Progress = Callable[[str], None]

Value = TypeVar("Value")


@dataclass
class Session:
    """Several models under one plan.

    models: the pipeline first, then what it is compared with. results: by measure, in order.
    names: what each runtime said it is, by label. skipped: measures that are longer than a
    context. vocabulary: ids below it are in every contender's.
    """

    models: Sequence[Model]
    plan: Plan
    progress: Progress = lambda _: None
    results: dict[Measure, Result] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    vocabulary: int = LARGEST_VOCABULARY
    _seed: int = 0

    def run(self) -> Limits:
        """Measure everything; the machine's limits, from before and after.

        Raises ContenderError for a runtime that is missing or fails.
        """
        planned, topics = self.plan, set(self.plan.topics)
        limits = self._limits()
        if topics & FRESH:
            self._fresh()
        if topics - FRESH:
            self._warm()
        kept = {measure.name for measure in self.plan.measures()}
        self.skipped = [one.name for one in planned.measures() if one.name not in kept]
        return limits.best(self._limits())

    def runtimes(self) -> dict[str, str]:
        """What each runtime said it is, the pipeline's own first."""
        return {label: self.names.get(label, label) for label in self._labelled()}

    def _labelled(self) -> dict[str, Model]:
        """The models by the name that tables give them, told apart where two have the same."""
        found: dict[str, Model] = {}
        for model in self.models:
            label, again = model.label, 2
            while label in found:
                label, again = f"{model.label} ({again})", again + 1
            found[label] = model
        return found

    def _limits(self) -> Limits:
        self.progress("measuring the machine")
        with Contender("machine", MACHINE) as machine:
            machine.ask("start")
            said = machine.ask("limits", threads=self.plan.threads)
            return Limits(said["bandwidth"], said["float32"], said["int8"])

    def _fresh(self) -> None:
        """Load in new processes: how long it takes, and what memory a task takes at its peak.

        A first round only warms up, and learns what all contenders have in common.
        """
        for turn in range(-1, self.plan.restarts):
            self._seed += 1
            for label, model in _order(self._labelled(), turn):
                self.progress(f"loading {label}, {turn + 1} of {self.plan.restarts}")
                with Contender(model.label, KINDS[model.kind], model.python) as contender:
                    before = contender.ask("start")["resident"]
                    opened = self._open(contender, label, model)
                    if turn < 0:
                        continue
                    self._put("load", label, opened["seconds"])
                    if "memory" in self.plan.topics:
                        self._memory(contender, label, before)

    def _warm(self) -> None:
        """Everything that is asked of processes that stay."""
        models = self._labelled()
        with ExitStack() as stack:
            contenders: dict[str, Contender] = {}
            for label, model in models.items():
                self.progress(f"loading {label}")
                contender = Contender(model.label, KINDS[model.kind], model.python)
                contenders[label] = stack.enter_context(contender)
                contender.ask("start")
                self._open(contender, label, model)
            for measure in self.plan.measures():
                if measure.topic not in FRESH:
                    self._in_turn(measure, contenders)

    def _open(self, contender: Contender, label: str, model: Model) -> dict[str, Any]:
        """Load the model, and learn the smallest vocabulary and the shortest context of all."""
        said = contender.ask("open", path=model.path, threads=self.plan.threads, **model.changes)
        self.names[label] = contender.runtime
        self.vocabulary = min(self.vocabulary, said.get("vocabulary") or self.vocabulary)
        if said.get("max_context"):
            self.plan = self.plan.within(said["max_context"])
        return said

    def _memory(self, contender: Contender, label: str, before: int) -> None:
        peak, above = (one for one in self.plan.measures() if one.topic == "memory")
        tokens = self._tokens(peak)
        said = contender.ask("prefill", tokens=tokens, new=self.plan.new)
        if "unable" in said:
            self._result(peak).missing[label] = said["unable"]
            return
        taken = contender.ask("decode", count=self.plan.new)["peak"]
        self._record(peak, label, taken)
        self._record(above, label, taken - before)

    def _in_turn(self, measure: Measure, contenders: dict[str, Contender]) -> None:
        """Every contender once to warm up, and then once in each round."""
        able, slowest = dict(contenders), LEAST_SECONDS
        for label, contender in contenders.items():
            self.progress(f"{measure.name}, {label} warms up")
            said = self._warm_up(measure, contender)
            if "unable" in said:
                del able[label]
                self._result(measure).missing[label] = said["unable"]
            else:
                slowest = min(slowest, said["seconds"])
        times = math.ceil(LEAST_SECONDS / max(slowest, SHORTEST))
        for turn in range(self.plan.repeats):
            # All of a round are given the same, which nobody has seen before.
            self._seed += times
            for label, contender in _order(able, turn):
                self.progress(f"{measure.name}, {turn + 1} of {self.plan.repeats}")
                time.sleep(SETTLE)
                answers = [self._ask(measure, contender, again) for again in range(times)]
                seconds = sum(answer["seconds"] for answer in answers) / times
                tokens = self.plan.new * measure.sequences
                self._record(measure, label, seconds if measure.unit == "s" else tokens / seconds)

    def _warm_up(self, measure: Measure, contender: Contender) -> dict[str, Any]:
        """Measure once; the prompt of what is decoded is forwarded only now."""
        if measure.topic in DECODING:
            tokens = self._tokens(measure)
            said = contender.ask("prefill", tokens=tokens, new=self.plan.new)
            if "unable" in said:
                return said
        return self._ask(measure, contender)

    def _ask(self, measure: Measure, contender: Contender, again: int = 0) -> dict[str, Any]:
        """Measure once. again: which of the times of a round."""
        if measure.topic in DECODING:
            return contender.ask("decode", count=self.plan.new)
        if measure.topic == "vision":
            width, height = measure.sides
            return contender.ask("vision", width=width, height=height, seed=self._seed + again)
        return contender.ask("prefill", tokens=self._tokens(measure, again), new=1)

    def _tokens(self, measure: Measure, again: int = 0) -> list[list[int]]:
        seed = self._seed + again
        return prompts(measure.sequences, measure.size, self.vocabulary, seed=seed)

    def _put(self, topic: str, label: str, value: float) -> None:
        for measure in self.plan.measures():
            if measure.topic == topic:
                self._record(measure, label, value)

    def _record(self, measure: Measure, label: str, value: float) -> None:
        self._result(measure).values.setdefault(label, []).append(value)

    def _result(self, measure: Measure) -> Result:
        return self.results.setdefault(measure, Result(measure))


def _order(contenders: dict[str, Value], turn: int) -> list[tuple[str, Value]]:
    """Who comes first changes, so that nobody always follows the same one."""
    found = list(contenders.items())
    return found if turn % 2 == 0 else found[::-1]
