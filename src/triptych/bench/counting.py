"""What the graphs of a pipeline must read and compute for each measure, and so its floor."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.bench.contender import KINDS, Contender, Model
from triptych.bench.floor import Limits
from triptych.bench.measurement import DECODING, Measure, Result
from triptych.bench.operations import Operations, count, runs_of
from triptych.bench.plan import Plan
from triptych.bench.prompts import prompts
from triptych.bench.step_bytes import StepBytes, step_bytes

if TYPE_CHECKING:
    from triptych.core.assembly.assembly import Assembly


@dataclass(frozen=True)
class Need:
    """Of one measure: bytes to read, and operations to compute, each as often as it is done once.

    For decoding, of one step of all sequences; else of the whole.
    """

    bytes: int = 0
    operations: Operations | None = None

    def least_seconds(self, limits: Limits) -> float:
        """Reading and computing overlap, so the longer one counts."""
        computing = 0.0
        if self.operations is not None:
            computing = self.operations.least_seconds(limits.float32, limits.int8)
        return max(self.bytes / limits.bandwidth, computing)


def bytes_of(assembly: Assembly) -> StepBytes:
    """What a step of this pipeline reads. Stages that are no graphs count nothing."""
    stages = [wired.stage for wired in assembly.wiring.span]
    graphs = [graph.path for stage in stages if (graph := getattr(stage, "graph", None))]
    return step_bytes(graphs, [pair for stage in stages for pair in stage.cache_pairs])


def needs(
    model: Model, plan: Plan, measures: Iterable[Measure], read: StepBytes, vocabulary: int
) -> dict[Measure, Need]:
    """What each of `measures` needs; the operations are counted in a run of their own.

    read: of a step. vocabulary: ids below it are used. Measures without a floor are left out.
    """
    wanted = [one for one in measures if one.topic in {"vision", "prefill", "decode", "sequences"}]
    found: dict[Measure, Need] = {}
    with tempfile.TemporaryDirectory() as folder:
        with Contender(model.label, KINDS[model.kind], model.python) as contender:
            contender.ask("start")
            contender.ask(
                "open", path=model.path, threads=plan.threads, profile=folder, **model.changes
            )
            marks: list[tuple[Measure, list[list[int]]]] = []
            for place, measure in enumerate(wanted):
                places = [_runs(contender)]
                if "unable" in _ask(contender, measure, vocabulary, seed=place):
                    continue
                places.append(_runs(contender))
                if measure.topic in DECODING:
                    # Steps are what more tokens take beside the first.
                    for tokens in (1, 1 + plan.new):
                        contender.ask("again", count=tokens)
                        places.append(_runs(contender))
                marks.append((measure, places))
            files = [runs_of(Path(file)) for file in contender.ask("profiles")["files"]]
        for measure, places in marks:
            stepping = measure.topic in DECODING
            seen = measure.size if stepping else None
            parts = [
                count(_nodes(files, before, after), seen)
                for before, after in itertools.pairwise(places)
            ]
            operations = parts[-1]
            if stepping:
                operations = operations.less(parts[-2]).each_of(plan.new)
            size = read.of(measure.size, measure.sequences) if stepping else 0
            found[measure] = Need(size, operations)
    return found


def set_floors(results: Iterable[Result], found: Mapping[Measure, Need], limits: Limits) -> None:
    """Fill in the floor of each result whose needs are known, and where its time goes."""
    for result in results:
        need = found.get(result.measure)
        if need is None:
            continue
        if need.operations is not None:
            result.nodes = need.operations.shares()
        seconds = need.least_seconds(limits)
        if seconds:
            rate = result.measure.unit == "tokens/s"
            result.floor = result.measure.sequences / seconds if rate else seconds


def _nodes(
    files: list[list[list[Mapping[str, Any]]]], before: list[int], after: list[int]
) -> list[Mapping[str, Any]]:
    """The node events of all graphs between two marks."""
    # A session that was not there before had no runs.
    firsts = [*before, *[0] * (len(after) - len(before))]
    return [
        node
        for runs, first, last in zip(files, firsts, after, strict=False)
        for run in runs[first:last]
        for node in run
    ]


def _runs(contender: Contender) -> list[int]:
    runs: list[int] = contender.ask("mark")["runs"]
    return runs


def _ask(contender: Contender, measure: Measure, vocabulary: int, *, seed: int) -> dict[str, Any]:
    """With other tokens for each seed, so that nothing is known from before."""
    if measure.topic == "vision":
        width, height = measure.sides
        return contender.ask("vision", width=width, height=height, seed=seed)
    tokens = prompts(measure.sequences, measure.size, vocabulary, seed=seed)
    return contender.ask("prefill", tokens=tokens, new=1)
