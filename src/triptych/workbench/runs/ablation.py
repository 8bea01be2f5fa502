"""A sweep, checked and ready: which arms there are, what they share, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from triptych.core.components.catalog import Catalog
from triptych.core.config.digests import digests_of
from triptych.core.config.part import Part
from triptych.core.config.resolved import plain, resolved
from triptych.core.config.spec import PipelineSpec
from triptych.core.config_error import ConfigError
from triptych.core.dataset import Item
from triptych.core.errors import PluginError, TriptychError
from triptych.core.paths import Paths
from triptych.core.system.memory import total_memory
from triptych.workbench.engines.embedded import embedded
from triptych.workbench.engines.engine import Engine
from triptych.workbench.results import Arm
from triptych.workbench.runs.grouping import Files, files_and_sizes, grouped
from triptych.workbench.runs.identity import check_same, identity_of
from triptych.workbench.runs.isolated import in_own_processes
from triptych.workbench.runs.machine import machine, versions
from triptych.workbench.runs.questions import check_question, question_of
from triptych.workbench.runs.recipe import ArmRecipe, ArmsRecipe
from triptych.workbench.runs.scoring import Scoring
from triptych.workbench.runs.seeds import leaves_nothing_to_chance
from triptych.workbench.runs.store import Cell, Store, StoreError
from triptych.workbench.runs.task import Outcome, Task
from triptych.workbench.sweep.arms import ArmPlan, plan_arms
from triptych.workbench.sweep.names import text_of
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
        _check_memory(scoring, metrics)
        plans = plan_arms(sweep, catalog, allow_outside=allow_outside)
        if not scoring.isolates:
            _check_threads(plans, sweep)
        else:
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
            Arm(plan.name, plan.changes, resolved(plan.spec, digests=False), digests_of(plan.spec))
            for plan in self.plans
        )

    def items(self) -> Iterator[Item]:
        """The items that are asked. Raises PluginError for what a dataset raises or gives wrong."""
        try:
            for item in islice(iter(self.data.make()), self.limit):
                yield self._item(item)
        except TriptychError:
            raise
        except Exception as error:
            raise PluginError(f"{self.data.label}: {type(error).__name__}: {error}") from error

    def _item(self, given: object) -> Item:
        if isinstance(given, Item):
            return given
        kind = type(given).__name__
        raise PluginError(f"{self.data.label} gave a {kind}, which is no triptych.Item")

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
        with store.alone():
            self._run(store, engine, name, progress)

    def _run(self, store: Store, engine: Engine, name: str, progress: Progress | None) -> None:
        identity = identity_of(self.sweep, self.limit, self.plugins)
        check_same(store, identity, self.arms)
        self._store_questions(store)
        store.note(self._about)
        session = store.begin_session(name, versions(), machine())
        total = store.count("items") * self.runs_per_item
        done = store.count("runs")
        if progress is not None:
            progress(done, total)
        copies = dict(self.computed)
        for arms in self.groups:
            for outcome in self._outcomes(store, arms, engine):
                computed = Cell(outcome.arm, "", outcome.seed, outcome.repeat)
                others = [cell._replace(item=outcome.item) for cell in copies[computed]]
                done += store.add(outcome, session, others)
                if progress is not None:
                    progress(done, total)

    @property
    def _about(self) -> dict[str, str]:
        """What a report says of how it was run."""
        shares = "arms share pipelines, graphs and features of pictures"
        if self.isolated:
            shares = "each arm in a process of its own, which take turns; " + _caches(self.plans)
        return {
            "sweep": self.sweep.file.name,
            "base": str(self.sweep.base.value),
            "data": text_of(self.sweep.plain["data"]),
            "metrics": ", ".join(part.label for part in self.metrics),
            "seeds": ", ".join(map(str, self.sweep.seeds)),
            "providers": ", ".join(self.plans[0].spec.session.providers),
            "sharing": shares,
        }

    def _outcomes(self, store: Store, arms: Collection[str], engine: Engine) -> Iterator[Outcome]:
        """What comes of all that is missing of some arms, in any order."""
        tasks = self._tasks(store, arms, embed=engine.elsewhere and not self.isolated)
        first = next(tasks, None)
        if first is None:
            return iter(())
        return self.answers(arms, chain([first], tasks), engine)

    def answers(
        self, arms: Collection[str], tasks: Iterable[Task], engine: Engine
    ) -> Iterator[Outcome]:
        """What comes of tasks of some arms, in any order. Raises what loading an arm raises."""
        if self.isolated:
            return in_own_processes({name: self._recipe([name]) for name in arms}, tasks)
        return engine.run(self._recipe(arms), tasks)

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """Arms that are in memory together: in one process, or in many where times are measured."""
        files = [(plan.name, files_and_sizes(plan.spec)) for plan in self.plans]
        base = files[0][1]
        if self.isolated:
            # Each process has a copy of its own of what others read, too.
            return grouped([(name, _copies(name, own)) for name, own in files], total_memory() // 2)
        return grouped(files, total_memory() // 2, base if self.needs_base else None)

    def _recipe(self, names: Collection[str]) -> ArmsRecipe:
        base = self.arms[0]
        return ArmsRecipe(
            tuple(ArmRecipe(arm.name, arm.config) for arm in self.arms if arm.name in names),
            self.metric_items,
            self.sweep.folder,
            self.plugins,
            ArmRecipe(base.name, base.config) if self.needs_base else None,
            together=not self.isolated,
        )

    @cached_property
    def metric_items(self) -> tuple[Any, ...]:
        """The metrics as YAML has them, to be made elsewhere."""
        paths = Paths(self.sweep.folder, self.sweep.folder, allow_outside=True)
        return tuple(plain(part, paths) for part in self.metrics)

    def _tasks(self, store: Store, arms: Collection[str], *, embed: bool) -> Iterator[Task]:
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

    def _in_order(self, store: Store, arms: Collection[str]) -> Iterator[Task]:
        cells = [cell for cell, _ in self.computed if cell.arm in arms]
        base = self.plans[0].name
        first = [cell for cell in cells if self.needs_base and cell.arm == base]
        others = [cell for cell in cells if cell not in first]
        if self.isolated or not self.needs_base:
            for position, item in enumerate(self.items()):
                # Who goes first on an item is another one on the next.
                turn = position % max(len(others), 1) if self.isolated else 0
                ordered = [*first, *others[turn:], *others[:turn]]
                yield from self._missing(store, item, ordered)
            return
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
        copies = dict(self.computed)
        for cell in cells:
            if all(one._replace(item=item.id) in done for one in (cell, *copies[cell])):
                continue
            tokens = None
            if self.needs_base and cell.arm != base:
                tokens = store.tokens(Cell(base, item.id, cell.seed, cell.repeat))
            yield Task(cell.arm, item, cell.seed, cell.repeat, tokens)

    def _store_questions(self, store: Store) -> None:
        """Keep the items; where they are there already, see that they are the same.

        Raises StoreError, also where there are none.
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
        if not store.count("items"):
            raise StoreError("the data has no items")


def _check_threads(plans: Sequence[ArmPlan], sweep: Sweep) -> None:
    """Raises ConfigError where arms of one process want different numbers of threads."""
    found = {plan.spec.session.threads for plan in plans if plan.spec.session.pool == "shared"}
    if len(found) > 1:
        places = [plan.spec.where("session.threads") for plan in plans]
        where = next((one for one in places if one and one.source == str(sweep.file)), None)
        raise ConfigError(
            where or sweep.base.where,
            "arms that share a process share its threads, and these want different numbers of them",
            hint="threads change times, and no answers: add a metric such as tokens_per_second, "
            "and each arm has a process of its own",
        )


def _copies(name: str, files: Files) -> Files:
    """An arm's files, told apart from those of others."""
    return {(name, path): size for path, size in files.items()}


def _caches(plans: Sequence[ArmPlan]) -> str:
    """Which arms find what an earlier request of theirs has left."""
    keep = [
        plan.name
        for plan in plans
        if plan.spec.session.feature_cache or plan.spec.session.prefix_cache
    ]
    return f"caches between requests are on in {', '.join(keep)}" if keep else "caches are off"


def _check_memory(scoring: Scoring, metrics: Sequence[Part]) -> None:
    """Raises ConfigError for a metric of memory beside one that has the base arm in memory, too."""
    measured = [part for part in metrics if scoring.measures(part.label) == "memory"]
    if scoring.needs_base and measured:
        raise ConfigError(
            measured[0].where,
            f"{measured[0].name} would count the base arm's memory in every arm, which another "
            "metric compares with it",
            hint="measure memory in a sweep of its own",
        )


def _without_caches(spec: PipelineSpec) -> PipelineSpec:
    """The same, in which no request finds what another has left, unless the file says so."""
    off = {
        name: False
        for name in ("feature_cache", "prefix_cache")
        if spec.where(f"session.{name}") is None
    }
    return replace(spec, session=spec.session.model_copy(update=off))
