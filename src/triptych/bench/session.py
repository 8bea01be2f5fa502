"""The order of a benchmark: machine, fresh processes, then every size in turn, pair by pair."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from triptych.bench.contender import KINDS, MACHINE, Contender, Model
from triptych.bench.floor import Limits
from triptych.bench.measurement import Measure, Result
from triptych.bench.plan import Plan
from triptych.bench.prompts import prompts

SETTLE = 0.02
"""Seconds between two contenders, in which the threads of the last one stop to spin."""

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
        limits = self._limits()
        self._fresh()
        with ExitStack() as stack:
            contenders = {
                label: stack.enter_context(_started(model))
                for label, model in self._labelled().items()
            }
            for label, contender in contenders.items():
                self.progress(f"loading {label}")
                contender.ask("open", **_opening(self._labelled()[label], self.plan))
            for measure in self.plan.measures():
                self._in_turn(measure, contenders)
        return limits.best(self._limits())

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
        planned = self.plan
        wanted = {"load", "memory"} & set(planned.topics)
        for turn in range(-1, planned.restarts if wanted else 0):
            for label, model in _order(self._labelled(), turn):
                self.progress(f"loading {label}, {turn + 1} of {planned.restarts}")
                with Contender(model.label, KINDS[model.kind], model.python) as contender:
                    before = contender.ask("start")
                    opened = contender.ask("open", **_opening(model, planned))
                    if turn < 0:
                        self.names[label] = f"{before['name']} {before['version']}".strip()
                        self._learn(opened)
                        continue
                    self._seed += 1
                    self._put("load", label, opened["seconds"])
                    if "memory" in planned.topics:
                        self._memory(contender, label, before["resident"])
        kept = {measure.name for measure in self.plan.measures()}
        self.skipped = [one.name for one in planned.measures() if one.name not in kept]

    def _learn(self, opened: dict[str, Any]) -> None:
        """What all contenders have: the smallest vocabulary, the shortest context."""
        self.vocabulary = min(self.vocabulary, opened.get("vocabulary") or self.vocabulary)
        if opened.get("max_context"):
            self.plan = self.plan.within(opened["max_context"])

    def _memory(self, contender: Contender, label: str, before: int) -> None:
        tokens = self._tokens(1, self.plan.memory_task)
        if "unable" in contender.ask("prefill", tokens=tokens, new=self.plan.new):
            return
        peak = contender.ask("decode", count=self.plan.new)["peak"]
        for measure in self.plan.measures():
            if measure.topic == "memory":
                above = measure.name == "above the imports"
                self._record(measure, label, peak - before if above else peak)

    def _in_turn(self, measure: Measure, contenders: dict[str, Contender]) -> None:
        """Every contender once to warm up, and then once in each round."""
        if measure.topic in {"load", "memory"}:
            return
        able = dict(contenders)
        for turn in range(-1, self.plan.repeats):
            self.progress(f"{measure.name}, {max(turn + 1, 0)} of {self.plan.repeats}")
            self._seed += 1
            for label, contender in _order(able, turn):
                time.sleep(SETTLE)
                # The prompt of a decoding run stays, and is only forwarded once.
                said = self._ask(measure, contender, first=turn < 0)
                if "unable" in said:
                    del able[label]
                    self._result(measure).missing[label] = said["unable"]
                elif turn >= 0:
                    seconds = said["seconds"]
                    tokens = self.plan.new * measure.sequences
                    self._record(
                        measure, label, tokens / seconds if measure.unit != "s" else seconds
                    )

    def _ask(self, measure: Measure, contender: Contender, *, first: bool) -> dict[str, Any]:
        if measure.topic == "vision":
            width, height = measure.sides
            return contender.ask("vision", width=width, height=height, seed=self._seed)
        tokens = self._tokens(measure.sequences, measure.size)
        if measure.topic == "prefill":
            return contender.ask("prefill", tokens=tokens, new=1)
        if first:
            said = contender.ask("prefill", tokens=tokens, new=self.plan.new)
            if "unable" in said:
                return said
        return contender.ask("decode", count=self.plan.new)

    def _tokens(self, sequences: int, length: int) -> list[list[int]]:
        """Prompts that no contender has seen before, and that all of a round are given."""
        return prompts(sequences, length, self.vocabulary, seed=self._seed)

    def _put(self, topic: str, label: str, value: float) -> None:
        for measure in self.plan.measures():
            if measure.topic == topic:
                self._record(measure, label, value)

    def _record(self, measure: Measure, label: str, value: float) -> None:
        self._result(measure).values.setdefault(label, []).append(value)

    def _result(self, measure: Measure) -> Result:
        return self.results.setdefault(measure, Result(measure))


def _started(model: Model) -> Contender:
    contender = Contender(model.label, KINDS[model.kind], model.python)
    try:
        contender.ask("start")
    except BaseException:
        contender.close()
        raise
    return contender


def _opening(model: Model, plan: Plan) -> dict[str, Any]:
    return {"path": model.path, "threads": plan.threads, **model.changes}


def _order(contenders: dict[str, Value], turn: int) -> list[tuple[str, Value]]:
    """Who comes first changes, so that nobody always follows the same one."""
    found = list(contenders.items())
    return found if turn % 2 == 0 else found[::-1]
