"""One benchmark from beginning to end: contenders, floors, report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from triptych.bench.contender import ContenderError, Model
from triptych.bench.counting import Need, bytes_of, needs, set_floors
from triptych.bench.measurement import Measure
from triptych.bench.operations import ProfileError
from triptych.bench.plan import Plan
from triptych.bench.report import Report
from triptych.bench.session import Progress, Session
from triptych.core.assembly.assembly import assemble

if TYPE_CHECKING:
    from triptych.core.config.spec import PipelineSpec


def benchmark(
    pipeline: str,
    spec: PipelineSpec,
    plan: Plan,
    *,
    changes: dict[str, Any] | None = None,
    against: Sequence[Model] = (),
    progress: Progress = lambda _: None,
) -> Report:
    """Measure `pipeline`, and `against` in turn with it.

    spec: what it is, with `changes` applied; those are keywords of `triptych.load`, as its process
    is given them. Raises ConfigError for wiring that does not hold, ContenderError for a
    runtime that is missing or fails.
    """
    read = bytes_of(assemble(spec))
    model = Model("triptych", pipeline, changes={"changes": changes} if changes else {})
    session = Session([model, *against], plan, progress)
    limits = session.run()
    notes = [f"{name}: longer than the context" for name in session.skipped]
    results = [found for one in session.plan.measures() if (found := session.results.get(one))]
    progress("counting operations")
    try:
        counted = [result.measure for result in results]
        needed = _needs(model, plan, counted, read, session.vocabulary)
        set_floors(results, needed, limits)
    except (ContenderError, ProfileError) as error:
        notes.append(f"no floors: {error}")
    for result in results:
        notes += [f"{result.measure.name}: {label}: {why}" for label, why in result.missing.items()]
    return Report(pipeline, plan.threads, limits, session.runtimes(), results, notes)


def _needs(*arguments: Any) -> dict[Measure, Need]:
    """As `counting.needs`; once more where a profile is damaged."""
    try:
        return needs(*arguments)
    except ProfileError:
        return needs(*arguments)
