"""What an ablation would take, and what it could find, before it is run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from triptych.core.dataset import Item
from triptych.core.system.usage import peak_memory
from triptych.workbench.engines.local import LocalEngine
from triptych.workbench.extra import workbench_extra
from triptych.workbench.runs.ablation import Ablation
from triptych.workbench.runs.grouping import Files, files_and_sizes
from triptych.workbench.runs.recipe import ArmRecipe, ArmsRecipe
from triptych.workbench.runs.seeds import leaves_nothing_to_chance
from triptych.workbench.runs.task import Task

SAMPLE = 8
"""Items that the base arm answers, spread over the data."""


@dataclass(frozen=True)
class Forecast:
    """items: of the data. runs: all of them; computed: those that are no copies of others.

    seconds: about how long, as the base arm answered `sampled` items; arms that do less or more
    take less or more. memory: bytes of one process; None where the system does not tell.
    smallest_effect: the least true difference from the base, of a score of 0 to 1, that would
    probably be found; None with fewer than two clusters. clusters: how many the items are in.
    failures: by arm, why the first item has no answer or no score of some metric.
    """

    items: int
    runs: int
    computed: int
    sampled: int
    seconds: float
    memory: int | None
    smallest_effect: float | None
    clusters: int
    failures: Mapping[str, str]


def forecast(asked: Ablation) -> Forecast:
    """Answer a few items with the base arm, and the first one with every arm.

    Raises what loading an arm raises, and MissingExtra.
    """
    clusters = [item.cluster or f"item {item.id}" for item in asked.items()]
    items = len(clusters)
    computed = len(asked.computed) * items
    each, load, sampled = _timed(asked, items)
    processes = len(asked.plans) if asked.isolated else len(asked.groups)
    memory = _memory(asked)
    return Forecast(
        items,
        asked.runs_per_item * items,
        computed,
        sampled,
        each * computed + load * processes,
        memory,
        _smallest_effect(asked, clusters),
        len(set(clusters)),
        _failures(asked),
    )


def _timed(asked: Ablation, items: int) -> tuple[float, float, int]:
    """Seconds of one run and of loading, and how many were asked."""
    base = asked.arms[0]
    begin = time.perf_counter()
    recipe = ArmsRecipe(
        (ArmRecipe(base.name, base.config),),
        asked.metric_items,
        asked.sweep.folder,
        asked.plugins,
        together=not asked.isolated,
    )
    worker = recipe.open()
    step = max(1, items // SAMPLE)
    sample = list(islice(asked.items(), 0, None, step))[:SAMPLE]
    seed = asked.sweep.seeds[0]
    if sample:
        # It loads the pipeline, and takes what only a first run takes.
        list(worker.answer([Task(base.name, sample[0], seed)]))
    load = time.perf_counter() - begin
    begin = time.perf_counter()
    for _ in worker.answer(_tasks(base.name, sample, seed)):
        pass
    seconds = time.perf_counter() - begin
    worker.close()
    return seconds / max(len(sample), 1), load, len(sample)


def _tasks(arm: str, sample: Sequence[Item], seed: int) -> Iterator[Task]:
    return (Task(arm, item, seed) for item in sample)


def _failures(asked: Ablation) -> dict[str, str]:
    """Why arms fail at the first item, each loaded as it will be when all is run."""
    seed = asked.sweep.seeds[0]
    found = {}
    for names in asked.groups:
        tasks = [Task(name, item, seed) for item in islice(asked.items(), 1) for name in names]
        for outcome in asked.answers(names, tasks, LocalEngine()):
            if outcome.error is not None:
                found[outcome.arm] = outcome.error
    return found


def _memory(asked: Ablation) -> int | None:
    """What this process took for the base arm, and the files of others that come to it."""
    used = peak_memory()
    if used is None:
        return None
    files = {plan.name: files_and_sizes(plan.spec) for plan in asked.plans}
    base = files[asked.plans[0].name]
    largest = max(sum(_joined([files[name] for name in group]).values()) for group in asked.groups)
    return used + max(0, largest - sum(base.values()))


def _joined(several: Sequence[Files]) -> dict[object, int]:
    return {path: size for files in several for path, size in files.items()}


def _smallest_effect(asked: Ablation, clusters: Sequence[str]) -> float | None:
    with workbench_extra("the smallest effect that would be found needs"):
        from triptych.workbench.statistics.power import WITHIN, smallest_effect
    draws = [not leaves_nothing_to_chance(plan.spec) for plan in asked.plans]
    return smallest_effect(
        clusters,
        draws=len(asked.sweep.seeds),
        within=WITHIN * (draws[0] + any(draws[1:])),
        comparisons=max(1, len(draws) - 1),
    )
