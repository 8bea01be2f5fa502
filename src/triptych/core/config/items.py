"""Items: a component's name with its settings, as a pipeline file writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from triptych.core.components.catalog import SINGULAR
from triptych.core.components.component import Kind
from triptych.core.config.nodes import Node, shown
from triptych.core.config_error import ConfigError, Where, unknown
from triptych.core.dataclass import dataclass

SIBLINGS: dict[Kind, tuple[str, ...]] = {
    "stages": ("as", "ports", "ignore"),
    "samplers": ("as",),
}
"""The keys that may stand beside a component's name, by kind."""

RESERVED = (
    "format",
    "root",
    "processor",
    "stages",
    "sampler",
    "strategy",
    "stop",
    "session",
    "approximate",
    "digests",
)
"""The keys of a pipeline file; a stage with such a label could not be addressed by flags."""

LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_/-]*")


@dataclass(frozen=True, eq=False)
class Item:
    """One item, its component not yet looked up.

    name: the component's. settings: what stands after the name; None where nothing does.
    where: the place of the name; its path ends with the label.
    ports, ignore: the sibling keys' values.
    """

    name: str
    label: str
    where: Where
    settings: Node | None = None
    ports: Node | None = None
    ignore: Node | None = None

    def with_label(self, label: str) -> Item:
        """The same item under another label."""
        parent = self.where.path[: len(self.where.path) - len(self.label)]
        return replace(self, label=label, where=replace(self.where, path=parent + label))


def parse_items(node: Node, kind: Kind) -> tuple[Item, ...]:
    """The items of a list.

    node: at the section's path. Raises ConfigError, for two items of one label too.
    """
    if node.list is None:
        raise ConfigError(node.where, f"{shown(node.value)} is not a list of items ('- name')")
    items = [parse_item(node.child(i), kind, node.where) for i in range(len(node.list))]
    check_labels(items)
    return tuple(items)


def parse_item(node: Node, kind: Kind, parent: Where, *, label: str | None = None) -> Item:
    """One item: ``name``, ``name: value`` or ``name: {settings}``, with sibling keys.

    parent: the path that the label is put under. label: one that is given from outside.
    Raises ConfigError.
    """
    if isinstance(node.value, str) and node.value:
        name, where, settings, siblings = str(node.value), node.where, None, {}
    elif node.items:
        allowed = SIBLINGS.get(kind, ())
        siblings = {key: node.child(key) for key in node.items if key in allowed}
        names = [key for key in node.items if key not in allowed]
        name = _one_name(names, node, kind)
        where, settings = node.key(name), node.child(name)
        if settings.value is None:
            settings = None
    else:
        what = SINGULAR[kind]
        empty = node.value in (None, "", {})
        raise ConfigError(
            node.where,
            f"this {what} is empty" if empty else f"{shown(node.value)} is not a {what}",
            hint="write 'name', 'name: value' or 'name: {setting: value}'",
        )
    alias = siblings.get("as")
    if alias is not None:
        if label is not None:
            raise ConfigError(alias.where, f"a replacement keeps its label, {label!r}")
        label = _label(alias, kind)
    label = label or name
    path = parent.under(label).path
    where = replace(where, path=path)
    if settings is not None:
        settings = settings.at(where)
    ports, ignore = siblings.get("ports"), siblings.get("ignore")
    return Item(
        name,
        label,
        where,
        settings,
        ports and ports.at(where.under("ports")),
        ignore and ignore.at(where.under("ignore")),
    )


def check_labels(items: Sequence[Item]) -> None:
    """Raise ConfigError for the second of two items with one label."""
    seen: dict[str, Item] = {}
    for item in items:
        if item.label in seen:
            # Of two items, the one that a flag brings is the one to mend.
            old, new = sorted([seen[item.label], item], key=lambda one: one.where.line is None)
            at = f"line {old.where.line}" if old.where.line is not None else old.where.source
            raise ConfigError(
                new.where,
                f"the label {item.label!r} is taken by the item of {at}",
                hint=f"give this one a label of its own: {{{new.name}: ..., as: LABEL}}",
            )
        seen[item.label] = item


def _one_name(names: list[str], node: Node, kind: Kind) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigError(node.where, f"names no {SINGULAR[kind]}", hint="write 'name: value'")
    second = node.key(names[1])
    if names[1] in ("as", "ports", "ignore"):
        raise unknown(
            second,
            f"{names[1]!r} does not go with a {SINGULAR[kind]}",
            names[1],
            SIBLINGS.get(kind, ()),
        )
    raise ConfigError(
        second,
        f"one item has two names, {names[0]!r} and {names[1]!r}",
        hint="indent the settings of an item further than its name, or begin an item with '- '",
    )


def _label(alias: Node, kind: Kind) -> str:
    label = alias.value
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        raise ConfigError(
            alias.where, f"{shown(label)} is not a label: letters, digits, '_', '-' and '/'"
        )
    if kind == "stages" and label in RESERVED:
        raise ConfigError(alias.where, f"a stage cannot be called {label!r}, a key of the file")
    return label
