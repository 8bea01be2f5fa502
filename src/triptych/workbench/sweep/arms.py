"""The arms of a sweep: what each changes, and the pipeline that comes of it, checked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.core.assembly.assembly import assemble
from triptych.core.components.catalog import Catalog
from triptych.core.config.load import load_spec
from triptych.core.config.locate import BUILT_IN
from triptych.core.config.nodes import Node, shown
from triptych.core.config.spec import PipelineSpec
from triptych.core.config_error import ConfigError, Where, unknown
from triptych.core.errors import TriptychError
from triptych.core.messages import nearest
from triptych.workbench.sweep.names import name_of, short_paths
from triptych.workbench.sweep.read import BASE
from triptych.workbench.sweep.sweep import BASE_KEYS, Inclusion, Sweep


@dataclass(frozen=True)
class ArmPlan:
    """One arm before it runs.

    changes: what differs from the base, by dotted path or edit, as YAML has the values.
    spec: its pipeline, which fits together.
    """

    name: str
    changes: Mapping[str, Any]
    spec: PipelineSpec


def plan_arms(
    sweep: Sweep, catalog: Catalog, *, allow_outside: bool = False
) -> tuple[ArmPlan, ...]:
    """All arms, the base first, then the matrix, then what is included.

    Each is built and its wiring checked; no weight is read. Raises ConfigError at the place in the
    sweep file, or in the pipeline's, that is wrong.
    """
    drafts = [_Draft(BASE, {}, sweep.base, sweep.base)]
    drafts += _of_matrix(sweep)
    drafts += [_of_inclusion(one, sweep.base) for one in sweep.include]
    seen: dict[str, _Draft] = {}
    for draft in drafts:
        if draft.name in seen:
            cause = f"there is an arm {draft.name!r} already"
            raise ConfigError(draft.at.where, cause, hint="choose another name")
        seen[draft.name] = draft
    return tuple(
        ArmPlan(one.name, one.changes, _checked(one, sweep, catalog, allow_outside=allow_outside))
        for one in drafts
    )


@dataclass(frozen=True)
class _Draft:
    """An arm as the file has it. at: the node that is to blame where no other is."""

    name: str
    changes: Mapping[str, Any]
    base: Node
    at: Node
    overrides: Mapping[str, Node] = field(default_factory=dict)
    insert: Node | None = None
    replace: Node | None = None
    remove: tuple[Node, ...] = ()


def _of_matrix(sweep: Sweep) -> Iterator[_Draft]:
    axes = sweep.matrix
    if not axes:
        _check_exclusions(sweep)
        return
    _check_exclusions(sweep)
    short = short_paths([axis.path for axis in axes])
    names: dict[str, int] = {}
    for nodes in itertools.product(*(axis.values for axis in axes)):
        chosen = {axis.path: node for axis, node in zip(axes, nodes, strict=True)}
        plain = {path: node.plain() for path, node in chosen.items()}
        if any(_excludes(one.values, plain) for one in sweep.exclude):
            continue
        bases = [node for path, node in chosen.items() if path in BASE_KEYS]
        name = name_of(plain, short)
        names[name] = names.get(name, 0) + 1
        yield _Draft(
            name if names[name] == 1 else f"{name}#{names[name]}",
            plain,
            bases[0] if bases else sweep.base,
            nodes[0],
            {path: node for path, node in chosen.items() if path not in BASE_KEYS},
        )


def _of_inclusion(one: Inclusion, base: Node) -> _Draft:
    changes: dict[str, Any] = {}
    if one.base is not None:
        changes[BASE] = one.base.plain()
    if one.remove:
        changes["remove"] = [label.plain() for label in one.remove]
    for key, node in (("replace", one.replace), ("insert", one.insert)):
        if node is not None:
            changes[key] = node.plain()
    overrides = {} if one.set is None else {key: one.set.child(key) for key in one.set.items or {}}
    changes |= {path: node.plain() for path, node in overrides.items()}
    return _Draft(
        str(one.name.value),
        changes,
        one.base or base,
        one.name,
        overrides,
        one.insert,
        one.replace,
        one.remove,
    )


def _check_exclusions(sweep: Sweep) -> None:
    """Raises ConfigError for one that can match no arm, and so would exclude nothing."""
    values = {axis.path: [node.plain() for node in axis.values] for axis in sweep.matrix}
    for one in sweep.exclude:
        for path, value in one.values.items():
            if path not in values:
                cause = f"the matrix does not vary {path!r}"
                raise unknown(one.node.key(path), cause, path, values)
            if not any(_same(value, other) for other in values[path]):
                raise ConfigError(
                    one.node.child(path).where,
                    f"the matrix has no {path} of {shown(value)}",
                    known=[shown(other) for other in values[path]],
                )


def _excludes(values: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    return all(_same(value, chosen[path]) for path, value in values.items())


def _same(one: Any, other: Any) -> bool:
    """Equal; ``true`` is no 1, as it is in Python."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def pipeline_of(node: Node, folder: Path) -> str | Path:
    """What `load_spec` is given for a pipeline that a sweep names."""
    text = str(node.value)
    return text if text in BUILT_IN else folder / Path(text).expanduser()


def _checked(draft: _Draft, sweep: Sweep, catalog: Catalog, *, allow_outside: bool) -> PipelineSpec:
    source = str(sweep.file)
    pipeline = pipeline_of(draft.base, sweep.folder)
    try:
        spec = load_spec(
            pipeline,
            catalog=catalog,
            overrides=draft.overrides,
            insert=() if draft.insert is None else draft.insert,
            replace=() if draft.replace is None else draft.replace,
            remove=draft.remove,
            allow_outside=allow_outside,
        )
        assemble(spec).check_chain()
    except ConfigError as error:
        if error.where.source == source:
            raise
        if error.where == Where(str(pipeline)):  # There is no pipeline of that name.
            near = error.nearest or nearest(str(draft.base.value), BUILT_IN)
            raise ConfigError(
                draft.base.where, error.cause, nearest=near, known=error.known, hint=error.hint
            ) from error
        # Where it is found, and which arm has it: most often the arm is to blame.
        cause = f"arm {draft.name!r} does not fit together: {error}"
        raise ConfigError(draft.at.where, cause, exit_code=error.exit_code) from error
    except TriptychError as error:
        cause = f"arm {draft.name!r}: {error}"
        raise ConfigError(draft.at.where, cause, exit_code=error.exit_code) from error
    return spec
