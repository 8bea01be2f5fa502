"""Reading a sweep file: its form is checked here, what it names when arms are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.core.config.form import read_form
from triptych.core.config.items import parse_item, parse_items
from triptych.core.config.nodes import Node, node_of, shown
from triptych.core.config_error import ConfigError, Where, unknown
from triptych.core.paths import Beside
from triptych.workbench.sweep.sweep import Axis, Exclusion, Inclusion, Sweep

FORMAT = 1
"""The version of the sweep file that this release reads."""

KEYS = (
    "format",
    "base",
    "data",
    "metrics",
    "matrix",
    "exclude",
    "include",
    "seeds",
    "repeats",
    "limit",
)
NEEDED = ("data", "metrics")

ARM_KEYS = ("name", "base", "set", "insert", "replace", "remove")
"""The keys of an entry of `include`."""

LARGEST_SEED = 2**63 - 1
"""What a database holds as a whole number."""

BASE = "base"
"""The name of the arm that others are compared with."""


def read_sweep(file: Path) -> Sweep:
    """What a sweep file says. Raises ConfigError, with line and column."""
    top = read_form(file, "a sweep", FORMAT)
    _check_keys(top)
    top = _placed(top, file.absolute().parent)
    items = top.items or {}

    def under(key: str, default: Any) -> Node:
        given = key in items and items[key].value is not None
        return top.child(key) if given else node_of(default, top.where.under(key))

    return Sweep(
        file=file,
        base=_text(under(BASE, "sketch"), "a pipeline"),
        data=parse_item(under("data", None), "datasets", Where(str(file), path="data")),
        metrics=_metrics(under("metrics", [])),
        matrix=_matrix(under("matrix", {})),
        exclude=tuple(_exclusion(node) for node in _list(under("exclude", []))),
        include=_inclusions(under("include", [])),
        seeds=_seeds(under("seeds", [0])),
        repeats=_whole(under("repeats", 1), least=1),
        limit=_whole(top.child("limit"), least=1) if _is_given(items, "limit") else None,
        plain=top.plain(),
    )


def _check_keys(top: Node) -> None:
    """Raises ConfigError for a key that is unknown, or missing."""
    _refuse_unknown(top, KEYS)
    for key in NEEDED:
        if not _is_given(top.items or {}, key):
            raise ConfigError(top.where.under(key), "this key must be given")


def _placed(node: Node, folder: Path) -> Node:
    """The same, in which texts that begin with ``./`` know the folder that they start at."""

    def change(one: Node) -> Node:
        value = one.value
        if isinstance(value, dict):
            value = {key: change(child) for key, child in value.items()}
        elif isinstance(value, list):
            value = [change(child) for child in value]
        elif isinstance(value, str) and value.startswith("./"):
            value = Beside(value, folder)
        return Node(value, one.where, one.keys)

    return change(node)


def _metrics(node: Node) -> tuple[Any, ...]:
    items = parse_items(node, "metrics")
    if not items:
        hint = "name one at least, as in [exact_match]"
        raise ConfigError(node.where, "there is no metric", hint=hint)
    return items


def _matrix(node: Node) -> tuple[Axis, ...]:
    if node.items is None:
        raise ConfigError(node.where, f"{shown(node.value)} is not a mapping of paths to values")
    axes = []
    for path in node.items:
        values = node.child(path)
        if not values.list:
            raise ConfigError(
                values.where,
                f"{shown(values.value)} is not a list of values",
                hint=f"as in '{path}: [A, B]'; a chain is a list, too: [[greedy], [draw]]",
            )
        children = [values.child(index) for index in range(len(values.list))]
        _refuse_twins(children)
        axes.append(Axis(path, tuple(children)))
    return tuple(axes)


def _exclusion(node: Node) -> Exclusion:
    if not node.items:
        hint = "as in [{sampler.temperature: 0.3, sampler.top_p: 0.8}]"
        raise ConfigError(node.where, "this excludes nothing: it is no mapping", hint=hint)
    return Exclusion(node, node.plain())


def _inclusions(node: Node) -> tuple[Inclusion, ...]:
    found: dict[str, Inclusion] = {}
    for entry in _list(node):
        if entry.items is None:
            hint = "as in {name: no_deepstack, remove: [merge]}"
            raise ConfigError(entry.where, f"{shown(entry.value)} is not an arm", hint=hint)
        _refuse_unknown(entry, ARM_KEYS)
        if "name" not in entry.items:
            raise ConfigError(entry.where, "this arm has no name", hint="add 'name: ...'")
        name = _text(entry.child("name"), "a name")
        if not name.value.isprintable():
            cause = f"{shown(name.value)} does not fit on a line"
            raise ConfigError(name.where, cause, hint="write it without line breaks and tabs")
        if name.value == BASE:
            cause = f"{BASE!r} is the arm that others are compared with"
            raise ConfigError(name.where, cause, hint="choose another name")
        if name.value in found:
            line = found[name.value].name.where.line
            raise ConfigError(name.where, f"the arm {name.value!r} is in line {line} already")
        remove = entry.items.get("remove")
        labels = () if remove is None else _labels(entry.child("remove"))
        found[name.value] = Inclusion(
            name,
            _text(entry.child("base"), "a pipeline") if "base" in entry.items else None,
            _mapping(entry, "set"),
            _mapping(entry, "insert"),
            _mapping(entry, "replace"),
            labels,
        )
    return tuple(found.values())


def _labels(node: Node) -> tuple[Node, ...]:
    if node.list is None:
        return (_text(node, "the label of a stage, or a list of labels"),)
    return tuple(_text(one, "the label of a stage") for one in _list(node))


def _mapping(entry: Node, key: str) -> Node | None:
    if not _is_given(entry.items or {}, key):
        return None
    node = entry.child(key)
    if node.items is None:
        raise ConfigError(node.where, f"{shown(node.value)} is not a mapping")
    return node


def _seeds(node: Node) -> tuple[int, ...]:
    nodes = _list(node)
    if not nodes:
        raise ConfigError(node.where, "there is no seed", hint="as in [0, 1, 2]")
    _refuse_twins(nodes)
    return tuple(_whole(one, least=0, most=LARGEST_SEED) for one in nodes)


def _list(node: Node) -> list[Node]:
    if node.list is None:
        raise ConfigError(node.where, f"{shown(node.value)} is not a list")
    return [node.child(index) for index in range(len(node.list))]


def _text(node: Node, what: str) -> Node:
    if not isinstance(node.value, str) or not node.value:
        raise ConfigError(node.where, f"{shown(node.value)} is not {what}")
    return node


def _whole(node: Node, *, least: int, most: int | None = None) -> int:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        cause = f"{shown(value)} is not a whole number of at least {least}"
        raise ConfigError(node.where, cause)
    if most is not None and value > most:
        raise ConfigError(node.where, f"{value} is more than {most}")
    return value


def _refuse_twins(nodes: list[Node]) -> None:
    seen: list[Any] = []
    for node in nodes:
        value = (type(node.value), node.plain())
        if value in seen:
            raise ConfigError(node.where, f"{shown(node.value)} is in the list twice")
        seen.append(value)


def _refuse_unknown(node: Node, known: tuple[str, ...]) -> None:
    for key in node.items or {}:
        if key not in known:
            raise unknown(node.key(key), f"there is no key {key!r}", key, known)


def _is_given(items: Mapping[str, Node], key: str) -> bool:
    return key in items and items[key].value is not None
