"""A sweep, checked and ready: which arms there are, what they share, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from triptych.core.catalog import Catalog
from triptych.core.config.digests import files_of, sha256
from triptych.core.config.part import Part
from triptych.core.config.resolved import plain, resolved
from triptych.core.config.spec import PipelineSpec
from triptych.core.dataset import Item
from triptych.core.paths import Paths
from triptych.workbench.engines.embedded import embedded
from triptych.workbench.engines.engine import Engine
from triptych.workbench.results import Arm
from triptych.workbench.runs.identity import check_same, identity_of
from triptych.workbench.runs.isolated import IsolatedEngine
from triptych.workbench.runs.machine import machine, versions
from triptych.workbench.runs.questions import check_question, question_of
from triptych.workbench.runs.recipe import ArmRecipe, ArmsRecipe
from triptych.workbench.runs.scoring import Scoring
from triptych.workbench.runs.seeds import leaves_nothing_to_chance
from triptych.workbench.runs.store import Cell, Store
from triptych.workbench.runs.task import Outcome, Task
from triptych.workbench.sweep.arms import ArmPlan, plan_arms
from triptych.workbench.sweep.parts import data_part, metric_parts
from triptych.workbench.sweep.read import read_sweep
from triptych.workbench.sweep.sweep import Sweep

AHEAD = 16
"""Items by which the base arm is ahead where metrics compare with what it said."""

_QUESTIONS_AT_ONCE = 50

Progress = Callable[[int, int], None]
"""Called with how many runs are there, and of how many."""


@dataclass(frozen=True)
class Ablation:
    """What a sweep file asks for, every arm checked.

    isolated: arms run one by one, in processes of their own, because times or memory are measured.
    needs_base: metrics compare with what the base arm said.
    """

    sweep: Sweep
    plans: tuple[ArmPlan, ...]
    data: Part
    metrics: tuple[Part, ...]
    plugins: tuple[Path, ...]
    limit: int | None
    isolated: bool
    needs_base: bool

    @classmethod
    def read(
        cls,
        file: Path,
        *,
        plugins: Sequence[Path] = (),
        limit: int | None = None,
        allow_outside: bool = False,
    ) -> Ablation:
        """Read a sweep file and build everything that it names. Raises ConfigError.

        limit: how many items at most, in the place of what the file says.
        """
        catalog = Catalog(plugins)
        sweep = read_sweep(file)
        data = data_part(sweep, catalog, allow_outside=allow_outside)
        metrics = metric_parts(sweep, catalog, allow_outside=allow_outside)
        scoring = Scoring(metrics)
        plans = plan_arms(sweep, catalog, allow_outside=allow_outside)
        if scoring.isolates:
            plans = tuple(replace(plan, spec=_without_caches(plan.spec)) for plan in plans)
        return cls(
            sweep,
            plans,
            data,
            metrics,
            tuple(plugin.absolute() for plugin in plugins),
            sweep.limit if limit is None else limit,
            scoring.isolates,
            scoring.needs_base,
        )

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The arms as they are recorded. Reads the files of all pipelines, for their digests."""
        return tuple(
            Arm(plan.name, plan.changes, resolved(plan.spec, digests=False), _digests(plan.spec))
            for plan in self.plans
        )

    def items(self) -> Iterator[Item]:
        """The items that are asked."""
        return islice(iter(self.data.make()), self.limit)

    @property
    def runs_per_item(self) -> int:
        """How many runs one item has, those included that are copies of others."""
        return len(self.plans) * len(self.sweep.seeds) * self.sweep.repeats

    @cached_property
    def computed(self) -> tuple[tuple[Cell, tuple[Cell, ...]], ...]:
        """The runs of one item that are computed (`item` is empty), each with its copies.

        A run is the copy of another where the configuration is the same, and the seed is, or
        nothing is left to chance. Where times are measured nothing is a copy.
        """
        found: dict[Any, list[Cell]] = {}
        for plan, arm in zip(self.plans, self.arms, strict=True):
            sure = leaves_nothing_to_chance(plan.spec)
            for seed in self.sweep.seeds:
                for repeat in range(self.sweep.repeats):
                    cell = Cell(plan.name, "", seed, repeat)
                    key = cell if self.isolated else (arm.config, None if sure else seed)
                    found.setdefault(key, []).append(cell)
        return tuple((cells[0], tuple(cells[1:])) for cells in found.values())

    def run(
        self, store: Store, engine: Engine, *, name: str = "local", progress: Progress | None = None
    ) -> None:
        """Do what is missing in `store`. Raises StoreError where it belongs to another sweep.

        engine: where it is done, by that name; arms that measure times run in processes of this
        machine. An item that fails is a row that says so.
        """
        identity = identity_of(self.sweep, self.limit, self.plugins)
        check_same(store, identity, self.arms)
        self._store_questions(store)
        session = store.begin_session(name, versions(), machine())
        total = store.count("items") * self.runs_per_item
        done = store.count("runs")
        if progress is not None:
            progress(done, total)
        copies = dict(self.computed)
        for arms in self._groups():
            runner: Engine = IsolatedEngine() if self.isolated else engine
            recipe = self._recipe(arms)
            tasks = self._tasks(store, {arm.name for arm in arms}, embed=runner.elsewhere)
            first = next(tasks, None)
            if first is None:
                continue
            outcomes: Iterator[Outcome] = runner.run(recipe, _with_first(first, tasks))
            for outcome in outcomes:
                computed = Cell(outcome.arm, "", outcome.seed, outcome.repeat)
                others = [cell._replace(item=outcome.item) for cell in copies[computed]]
                done += store.add(outcome, session, others)
                if progress is not None:
                    progress(done, total)

    def _groups(self) -> list[tuple[Arm, ...]]:
        """Arms that are answered for by one process; each by itself where times are measured."""
        if self.isolated:
            return [(arm,) for arm in self.arms]
        return [self.arms]

    def _recipe(self, arms: Sequence[Arm]) -> ArmsRecipe:
        base = self.arms[0]
        return ArmsRecipe(
            tuple(ArmRecipe(arm.name, arm.config) for arm in arms),
            self._metric_items,
            self.sweep.folder,
            self.plugins,
            ArmRecipe(base.name, base.config) if self.needs_base else None,
            together=not self.isolated,
        )

    @cached_property
    def _metric_items(self) -> tuple[Any, ...]:
        paths = Paths(self.sweep.folder, self.sweep.folder, allow_outside=True)
        return tuple(plain(part, paths) for part in self.metrics)

    def _tasks(self, store: Store, arms: set[str], *, embed: bool) -> Iterator[Task]:
        """What is missing of some arms: item by item, so that what is known of one serves all.

        Where metrics compare with the base arm, that is a few items ahead. embed: tasks carry the
        pictures themselves, for workers that do not see our files.
        """
        for task in self._in_order(store, arms):
            if embed:
                request = embedded(task.item.request)
                yield replace(task, item=replace(task.item, request=request))
            else:
                yield task

    def _in_order(self, store: Store, arms: set[str]) -> Iterator[Task]:
        cells = [cell for cell, _ in self.computed if cell.arm in arms]
        base = self.plans[0].name
        if not self.needs_base:
            for item in self.items():
                yield from self._missing(store, item, cells)
            return
        first = [cell for cell in cells if cell.arm == base]
        others = [cell for cell in cells if cell.arm != base]
        waiting: list[Item] = []
        for item in self.items():
            yield from self._missing(store, item, first)
            waiting.append(item)
            if len(waiting) > AHEAD:
                yield from self._missing(store, waiting.pop(0), others)
        for item in waiting:
            yield from self._missing(store, item, others)

    def _missing(self, store: Store, item: Item, cells: Sequence[Cell]) -> Iterator[Task]:
        done = store.done(item.id)
        base = self.plans[0].name
        for cell in cells:
            if cell._replace(item=item.id) in done:
                continue
            tokens = None
            if self.needs_base and cell.arm != base:
                tokens = store.tokens(Cell(base, item.id, cell.seed, cell.repeat))
            yield Task(cell.arm, item, cell.seed, cell.repeat, tokens)

    def _store_questions(self, store: Store) -> None:
        """Keep the items; where they are there already, see that they are the same.

        Raises StoreError.
        """
        new = []
        for position, item in enumerate(self.items()):
            known = store.question(position)
            if known is not None:
                check_question(known, item)
                continue
            new.append((position, question_of(item)))
            if len(new) == _QUESTIONS_AT_ONCE:
                store.add_questions(new)
                new = []
        store.add_questions(new)


def _with_first(first: Task, tasks: Iterator[Task]) -> Iterator[Task]:
    yield first
    yield from tasks


def _without_caches(spec: PipelineSpec) -> PipelineSpec:
    """The same, in which no request finds what another has left, unless the file says so."""
    off = {
        name: False
        for name in ("feature_cache", "prefix_cache")
        if spec.where(f"session.{name}") is None
    }
    return replace(spec, session=spec.session.model_copy(update=off))


def _digests(spec: PipelineSpec) -> dict[str, str]:
    parts = (spec.processor, *spec.stages, *spec.sampler, spec.strategy)
    files = dict.fromkeys(path for part in parts for path in files_of(part))
    return {spec.paths.short(path): _digest(path) for path in files}


def _digest(path: Path) -> str:
    state = path.stat()
    return _digest_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, size: int, time: int) -> str:  # noqa: ARG001 - tell versions apart
    """Many arms share their files."""
    return sha256(path)
