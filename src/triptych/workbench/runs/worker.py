"""Answers the tasks of several arms in one process, and shares what they have in common."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from triptych.core.assembly.assembly import assemble
from triptych.core.assembly.shared import Shared
from triptych.core.components.catalog import Catalog
from triptych.core.config.build import Builder
from triptych.core.config.items import parse_items
from triptych.core.config.load import load_spec
from triptych.core.config.nodes import node_of
from triptych.core.config.reader import read_yaml
from triptych.core.config_error import Where
from triptych.core.dataset import Item
from triptych.core.errors import TriptychError, words_of
from triptych.core.metric import Answer, Base
from triptych.core.paths import Paths
from triptych.core.pipeline import Pipeline
from triptych.core.prompt import Prompt
from triptych.core.reply import Reply
from triptych.core.request import Request
from triptych.core.requests.stream import Stream
from triptych.workbench.engines.in_progress import Ended, Lane, in_lanes
from triptych.workbench.runs.recipe import ArmRecipe, ArmsRecipe
from triptych.workbench.runs.scoring import Scoring
from triptych.workbench.runs.seeds import run_seed
from triptych.workbench.runs.task import Outcome, Task

PER_CALL = ("sampler", "stop")
"""Keys of a pipeline file that a request may change: arms that differ in these alone are one
loaded pipeline."""

_PROMPTS = 8
"""Items whose prompts are kept: tasks of one item come one after the other."""


class ArmError(TriptychError):
    """The pipeline of an arm cannot be loaded, by which no item is to blame."""


@dataclass(eq=False)
class _Loaded(Lane):
    """A pipeline. processor: what its prompts depend on."""

    pipeline: Pipeline
    processor: str


class ArmsWorker:
    """A `Worker` of tasks."""

    def __init__(self, recipe: ArmsRecipe) -> None:
        self._catalog = Catalog(recipe.plugins)
        self._lanes: dict[str, _Loaded] = {}
        self._settings: dict[str, Mapping[str, Any]] = {}
        self._of_arm: dict[str, _Loaded] = {}
        self._together = recipe.together
        self._base = recipe.base
        self._shared = Shared()
        self._prompts: OrderedDict[tuple[str, str], Prompt] = OrderedDict()
        self._recipes = {arm.name: arm for arm in recipe.arms}
        if recipe.base is not None:
            self._recipes[recipe.base.name] = recipe.base
        builder = Builder(self._catalog, Paths(recipe.folder, recipe.folder, allow_outside=True))
        items = parse_items(node_of(list(recipe.metrics), Where("metrics")), "metrics")
        self._scoring = Scoring([builder.part(item, "metrics") for item in items])

    def answer(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """One outcome for each task, in the order in which they end.

        A pipeline is loaded for the first task of its arms. Raises what that raises.
        """
        for ended in in_lanes(tasks, self._begin, lane=self._lane):
            yield self._outcome(ended)

    def close(self) -> None:
        """Forget the pipelines; what is in progress ends."""
        self._of_arm.clear()
        self._lanes.clear()

    def _lane(self, task: Task) -> Lane:
        """Where a task is answered; the base arm is loaded by then. Raises ArmError."""
        if self._base is not None:
            self._loaded(self._base.name)
        return self._loaded(task.arm)

    def _loaded(self, name: str) -> _Loaded:
        """The pipeline of an arm. Raises ArmError."""
        if name not in self._of_arm:
            try:
                self._open(self._recipes[name])
            except TriptychError as error:
                raise ArmError(f"arm {name}: {error}") from error
        return self._of_arm[name]

    def _open(self, arm: ArmRecipe) -> None:
        node = read_yaml(arm.config, arm.name)
        document: dict[str, Any] = {} if node is None else node.plain()
        key = repr({name: value for name, value in document.items() if name not in PER_CALL})
        if not self._together:
            key += arm.name
        if key not in self._lanes:
            spec = load_spec(document, catalog=self._catalog, allow_outside=True)
            shared = self._shared if self._together else None
            pipeline = Pipeline(spec, assembly=replace(assemble(spec), shared=shared))
            room = spec.session.max_batch if self._together else 1
            processor = repr((document["root"], document["processor"]))
            self._lanes[key] = _Loaded(room, pipeline, processor)
        self._of_arm[arm.name] = self._lanes[key]
        self._settings[arm.name] = {
            "sampler": document["sampler"],
            "max_new_tokens": document["stop"]["max_new_tokens"],
            "stop": document["stop"]["strings"],
        }

    def _begin(self, task: Task) -> Stream:
        lane = self._of_arm[task.arm]
        request = self._request(task.arm, task.item, task.seed)
        if not self._together:
            return lane.pipeline.stream(request)
        prompt = self._prompt(lane, task.item)
        return lane.pipeline.begin(prompt, request.settings, request=request)

    def _prompt(self, lane: _Loaded, item: Item) -> Prompt:
        """What a processor makes of an item, the same for all arms that have this processor."""
        key = (lane.processor, item.id)
        if key not in self._prompts:
            self._prompts[key] = lane.pipeline.processor.prompt(item.request)
            if len(self._prompts) > _PROMPTS:
                self._prompts.popitem(last=False)
        return self._prompts[key]

    def _request(self, arm: str, item: Item, seed: int) -> Request:
        """What an arm is asked; settings that the item itself has come before the arm's."""
        own = item.request.settings
        settings = {**self._settings[arm], **own, "seed": run_seed(seed, item.id)}
        return replace(item.request, settings=settings)

    def _outcome(self, ended: Ended[Task]) -> Outcome:
        if isinstance(ended.outcome, Exception):
            return _failed(ended.task, ended.outcome)
        return self._scored(ended.task, ended.outcome, ended.seconds)

    def _scored(self, task: Task, reply: Reply, wall: float) -> Outcome:
        outcome = Outcome(
            task.arm,
            task.item.id,
            task.seed,
            task.repeat,
            reply.seed,
            reply.text,
            reply.tokens,
            reply.finish_reason,
            prompt_tokens=reply.usage.prompt_tokens,
            image_tokens=reply.usage.image_tokens,
            cached_tokens=reply.usage.cached_tokens,
            load=reply.timings.load,
            vision=reply.timings.vision,
            prefill=reply.timings.prefill,
            decode=reply.timings.decode,
            wall=wall,
        )
        pipeline = self._of_arm[task.arm].pipeline
        base, failure = None, None
        try:
            base = self._base_of(task) if self._scoring.needs_base else None
        except Exception as error:  # noqa: BLE001 - one item must not end the others
            failure = error
        scored = self._scoring(task.item, Answer(reply, pipeline, base), without_base=failure)
        return replace(outcome, scores=scored.scores, error="; ".join(scored.errors) or None)

    def _base_of(self, task: Task) -> Base | None:
        """What the base arm said to the same; it is asked again where nobody knows."""
        if self._base is None or task.arm == self._base.name:
            return None
        pipeline = self._of_arm[self._base.name].pipeline
        tokens = task.base_tokens
        if tokens is None:
            tokens = pipeline.generate(self._request(self._base.name, task.item, task.seed)).tokens
        return Base(pipeline, tokens)


def _failed(task: Task, error: Exception) -> Outcome:
    seed = run_seed(task.seed, task.item.id)
    return Outcome(task.arm, task.item.id, task.seed, task.repeat, seed, error=words_of(error))
