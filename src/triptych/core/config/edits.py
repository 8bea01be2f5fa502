"""Changes to a pipeline file that flags and keywords ask for, before anything is built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from pydantic import BaseModel

from triptych.core.components.component import Kind
from triptych.core.config.build import Builder, nested_kind, settings_node
from triptych.core.config.chain import DEFAULT_ORDER, Spoken, insert_warp
from triptych.core.config.items import Item, check_labels, parse_item, parse_items
from triptych.core.config.nodes import Node, node_of, shown
from triptych.core.config.orders import parse_chain
from triptych.core.config.sections import SessionSettings, StopSettings
from triptych.core.config_error import ConfigError, Where, unknown
from triptych.core.dataclass import dataclass

ALONE: tuple[Kind, ...] = ("processors", "strategies")
"""The kinds of which a pipeline has one; its label is the key it stands under."""

ANCHOR = re.compile(r"(after|before)\s+(\S+)")


@dataclass
class Draft:
    """A pipeline file in items, before its components are looked up."""

    processor: Item
    stages: tuple[Item, ...]
    sampler: tuple[Item, ...]
    strategy: Item
    stop: Node
    session: Node
    approximate: Node
    places: dict[str, Where] = field(default_factory=dict)
    """Where a list that was set from outside of the file was set, by its name."""


@dataclass(frozen=True)
class Override:
    """One setting to change.

    address: ``sampler.top_p``, ``decoder.cache``, ``session.threads``. value: as in YAML.
    text: the value as it was typed, for messages; None when it was not.
    """

    address: str
    value: Any
    text: str | None = field(default=None, compare=False)


Overrides = Mapping[str, Any] | Sequence[Override]
Insert = str | Mapping[str, Any] | Node | tuple[str, str, Any]
Replace = str | Mapping[str, Any] | Node


@dataclass(frozen=True)
class Edits:
    """What is to be changed, applied in the order of the fields.

    remove: labels. replace: ``"mrope: positions"``, or ``{"mrope": "positions"}`` for any number.
    insert: ``"after mrope: {acme/token_merge: 0.5}"``, the same as a mapping
    ``{"after mrope": {"acme/token_merge": 0.5}}``, or ``("after", "mrope", item)``.
    overrides: settings by address. A bare label is a stage's, ``sampler.LABEL`` a sampling step's.
    spoken: whether messages speak of flags or of keywords.
    A `Node` in the place of a value or a mapping, as another file has it, is known by its place.
    """

    remove: str | Iterable[str | Node] = ()
    replace: Replace | Iterable[Replace] = ()
    insert: Insert | Iterable[Insert] = ()
    overrides: Overrides = ()
    spoken: Spoken = "keywords"

    def apply(self, draft: Draft, builder: Builder) -> None:
        """Change the draft. Raises ConfigError, which names the flag or keyword."""
        for label in [self.remove] if isinstance(self.remove, str) else self.remove:
            name, where = label, self._where("remove", str(label))
            if isinstance(label, Node):
                name, where = label.value, label.where
            _remove(draft, name, where)
            draft.places |= {} if draft.sampler else {"sampler": replace(where, path="sampler")}
            draft.places |= {} if draft.stages else {"stages": replace(where, path="stages")}
        for one in _several(self.replace):
            for where, label, node in self._pairs("replace", one):
                _replace(draft, label, node, where)
        for new in _several(self.insert):
            change = {f"{new[0]} {new[1]}": new[2]} if isinstance(new, tuple) else new
            for where, anchor, node in self._pairs("insert", change):
                _insert(draft, anchor, node, where)
        overrides: Any = self.overrides
        if isinstance(overrides, str):
            cause = "is text, not a mapping"
            hint = "as in {'sampler.top_p': 0.9}"
            raise ConfigError(Where("overrides"), cause, hint=hint)
        if isinstance(overrides, Mapping):
            overrides = [Override(address, value) for address, value in overrides.items()]
        for override in overrides:
            where = self._where_set(override)
            set_value(draft, override.address, node_of(override.value, where), builder)

    def _pairs(
        self, keyword: str, change: str | Mapping[str, Any] | Node
    ) -> list[tuple[Where, str, Node]]:
        """The places, keys and values of one argument, which is YAML or a mapping."""
        if isinstance(change, Node) and change.items is not None:
            return [(change.key(key), key, node) for key, node in change.items.items()]
        if isinstance(change, str):
            where = self._where(keyword, change)
            found = _yaml(change, where)
            if not isinstance(found, dict) or len(found) != 1:
                form = "mrope: positions" if keyword == "replace" else "after mrope: merge"
                raise ConfigError(where, f"is not of the form {form!r}")
        elif isinstance(change, Mapping):
            found = dict(change)
        else:
            raise ConfigError(Where(keyword), f"{shown(change)} is neither text nor a mapping")
        pairs = []
        for key, value in found.items():
            text = change if isinstance(change, str) else str(key)
            where = self._where(keyword, text)
            pairs.append((where, str(key), node_of(value, where)))
        return pairs

    def _where(self, keyword: str, text: object) -> Where:
        return Where(f"--{keyword} {text!r}" if self.spoken == "flags" else f"{keyword}={text!r}")

    def _where_set(self, change: Override) -> Where:
        if self.spoken == "flags":
            value = _as_text(change.value) if change.text is None else change.text
            return Where(f"--set {change.address}={value}")
        return Where(f"overrides[{change.address!r}]")


def parse_set(text: str) -> Override:
    """``sampler.top_p=0.9`` from the command line; the value is YAML.

    Raises ConfigError for text without ``=`` or without an address, and for wrong YAML.
    """
    where = Where(f"--set {text}")
    address, equals, value = text.partition("=")
    if not equals or not address.strip():
        raise ConfigError(where, "is not of the form ADDRESS=VALUE", hint="as in sampler.top_p=0.9")
    return Override(address.strip(), _yaml(value, where), value.strip())


def set_value(draft: Draft, address: str, value: Node, builder: Builder) -> None:
    """Set what `address` names to `value`. Raises ConfigError, at the value's place."""
    section, _, rest = address.partition(".")
    keys = rest.split(".") if rest else []
    if section == "processor":
        draft.processor = _set_nested(draft.processor, "processors", keys, value, builder)
    elif section == "strategy":
        draft.strategy = _set_nested(draft.strategy, "strategies", keys, value, builder)
    elif section == "stop":
        draft.stop = _set_section(draft.stop, keys, value)
    elif section == "session":
        draft.session = _set_section(draft.session, keys, value)
    elif section == "approximate" and not keys:
        draft.approximate = value.at(Where("", path="approximate"))
    elif section in ("stages", "sampler") and not keys:
        node = value.at(Where("", path=section))
        draft.places[section] = node.where
        if section == "stages":
            draft.stages = parse_items(node, "stages")
        else:
            draft.sampler = parse_chain(node)
    elif section in ("format", "root", "digests", ""):
        raise ConfigError(value.where, f"{section!r} cannot be set from outside of the file")
    else:
        _set_item(draft, address, value, builder)


def _set_item(draft: Draft, address: str, value: Node, builder: Builder) -> None:
    kind, items, text = _list_of(draft, address)
    index = next(
        (
            index
            for index, item in enumerate(items)
            if text == item.label or text.startswith(f"{item.label}.")
        ),
        None,
    )
    if index is None:
        name, _, rest = text.partition(".")
        if kind != "samplers" or name not in DEFAULT_ORDER:
            raise _no_label(draft, address, value.where, also=DEFAULT_ORDER)
        where = replace(value.where, path=f"sampler.{name}")
        settings = _deep(Node({}, where), rest.split("."), value) if rest else value
        draft.sampler = insert_warp(items, name, settings)
        return
    item = items[index]
    rest = text[len(item.label) + 1 :]
    changed = _set_in(item, kind, rest.split(".") if rest else [], value, builder)
    _store(draft, kind, (*items[:index], changed, *items[index + 1 :]))


def _set_in(item: Item, kind: Kind, keys: list[str], value: Node, builder: Builder) -> Item:
    """The item with one setting changed; `keys` lead to it, none to the main setting."""
    if not keys:
        return builder.with_main(item, kind, value)
    entry = builder.entry(item, kind)
    model = builder.settings_class(item, entry)
    is_own = model is not None and keys[0] in model.model_fields
    if kind == "stages" and keys[0] in ("ports", "ignore") and not is_own:
        return _set_sibling(item, keys, value)
    node = settings_node(item, entry, model)
    if model is None:
        raise ConfigError(value.where, f"{entry.full_name} takes no settings")
    return replace(item, settings=_set_under(node, model, keys, value, builder))


def _set_under(
    node: Node, model: type[BaseModel], keys: list[str], value: Node, builder: Builder
) -> Node:
    kind = nested_kind(model, keys[0])
    if kind is None or len(keys) == 1:
        return _deep(node, keys, value)
    child = node.items.get(keys[0]) if node.items else None
    if child is None:
        default = model.model_fields[keys[0]].get_default()
        child = node_of(default, value.where) if isinstance(default, str | dict) else None
    item = None if child is None else parse_item(child, kind, node.where.under(keys[0]))
    changed = _set_nested(item, kind, keys[1:], value, builder)
    spelled = Node(
        {changed.name: changed.settings or Node(None, changed.where)},
        changed.where,
        {changed.name: changed.where},
    )
    return node.with_key(keys[0], spelled)


def _set_nested(
    item: Item | None, kind: Kind, keys: list[str], value: Node, builder: Builder
) -> Item:
    """An item that stands alone: the processor, the strategy, a cache.

    Its keys may begin with a component's name, which takes the place of the one that is there.
    """
    parent = Where(value.where.source, path="" if item is None else _parent(item))
    label = item.label if item is not None and kind in ALONE else None
    if not keys:
        return parse_item(value, kind, parent, label=label)
    if item is not None:
        model = builder.settings_class(item, builder.entry(item, kind))
        if keys[0] == item.name:
            return _set_in(item, kind, keys[1:], value, builder)
        if model is not None and keys[0] in model.model_fields:
            return _set_in(item, kind, keys, value, builder)
    if item is None or keys[0] in builder.catalog.names(kind) or "/" in keys[0]:
        new = parse_item(Node(keys[0], value.where), kind, parent, label=label)
        return _set_in(new, kind, keys[1:], value, builder)
    return _set_in(item, kind, keys, value, builder)


def _set_section(node: Node, keys: list[str], value: Node) -> Node:
    return _deep(node, keys, value) if keys else value.at(node.where)


def _set_sibling(item: Item, keys: list[str], value: Node) -> Item:
    old: Node | None = getattr(item, keys[0])
    name = ".".join(keys[1:])  # a graph's port names have dots
    where = replace(value.where, path=item.where.under(keys[0]).path)
    new = value.at(where)
    if name:
        mapping = old if old is not None and old.items is not None else Node({}, where)
        new = mapping.with_key(name, value)
    return replace(item, ports=new) if keys[0] == "ports" else replace(item, ignore=new)


def _deep(node: Node, keys: list[str], value: Node) -> Node:
    """The mapping with the value that `keys` lead to changed; mappings on the way are made."""
    key, *rest = keys
    if not rest:
        return node.with_key(key, value)
    child = (node.items or {}).get(key)
    if child is None or child.items is None:
        child = Node({}, value.where)
    return node.with_key(key, _deep(child, rest, value))


def _remove(draft: Draft, label: object, where: Where) -> None:
    kind, items, index = _position(draft, str(label), where)
    _store(draft, kind, (*items[:index], *items[index + 1 :]))


def _replace(draft: Draft, label: str, node: Node, where: Where) -> None:
    parent = Where(where.source)
    if label == "processor":
        draft.processor = parse_item(node, "processors", parent, label=label)
        return
    if label == "strategy":
        draft.strategy = parse_item(node, "strategies", parent, label=label)
        return
    kind, items, index = _position(draft, label, where)
    old = items[index]
    item = parse_item(node, kind, Where(where.source, path=_parent(old)), label=old.label)
    _store(draft, kind, (*items[:index], item, *items[index + 1 :]))


def _insert(draft: Draft, anchor: str, node: Node, where: Where) -> None:
    match = ANCHOR.fullmatch(anchor.strip())
    if match is None:
        raise ConfigError(
            where, f"{anchor!r} is not a place", hint="write 'after LABEL' or 'before LABEL'"
        )
    side, label = match.groups()
    kind, items, index = _position(draft, label, where)
    item = parse_item(node, kind, Where(where.source, path=_parent(items[index])))
    index += side == "after"
    _store(draft, kind, (*items[:index], item, *items[index:]))


def _position(draft: Draft, address: str, where: Where) -> tuple[Kind, tuple[Item, ...], int]:
    """The list that a label is in, and the item's index."""
    kind, items, label = _list_of(draft, address)
    for index, item in enumerate(items):
        if item.label == label:
            return kind, items, index
    raise _no_label(draft, address, where)


def _list_of(draft: Draft, address: str) -> tuple[Kind, tuple[Item, ...], str]:
    """The kind and the items that an address speaks of, and the address among them."""
    section, _, rest = address.partition(".")
    if section == "sampler" and rest:
        return "samplers", draft.sampler, rest
    return "stages", draft.stages, rest if section == "stages" and rest else address


def _store(draft: Draft, kind: Kind, items: tuple[Item, ...]) -> None:
    check_labels(items)
    if kind == "stages":
        draft.stages = items
    else:
        draft.sampler = items


def _no_label(draft: Draft, address: str, where: Where, *, also: Iterable[str] = ()) -> ConfigError:
    """also: sampling steps that may be named although the chain has none."""
    kind, items, text = _list_of(draft, address)
    name = text if any(text == item.label for item in items) else text.partition(".")[0]
    labels = [item.label for item in items]
    if kind == "samplers":
        known = dict.fromkeys([*labels, *also])
        return unknown(where, f"there is no sampling step {name!r}", name, known)
    steps = [item.label for item in draft.sampler]
    if name in steps or name in DEFAULT_ORDER:
        return ConfigError(
            where,
            f"there is no stage {name!r}",
            hint=f"a sampling step is addressed as sampler.{name}",
            known=labels,
        )
    for section, settings in (("stop", StopSettings), ("session", SessionSettings)):
        if name in settings.model_fields:
            hint = f"that setting is addressed as {section}.{name}"
            return ConfigError(where, f"there is no stage {name!r}", hint=hint, known=labels)
    sections = ["processor", "strategy", "stop", "session", "approximate", "sampler"]
    found = unknown(where, f"there is no stage {name!r}", name, [*labels, *sections])
    near = None if found.nearest == name else found.nearest
    return ConfigError(where, found.cause, nearest=near, known=labels)


def _parent(item: Item) -> str:
    """The path above the item's label."""
    return item.where.path[: len(item.where.path) - len(item.label)].rstrip(".")


def _yaml(text: str, where: Where) -> Any:
    """What YAML in a flag says; errors are the flag's."""
    from triptych.core.config.reader import read_yaml

    try:
        node = read_yaml(text, where.source)
    except ConfigError as error:
        raise ConfigError(where, error.cause, hint=error.hint) from None
    return None if node is None else node.plain()


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


def _several(given: Any) -> list[Any]:
    """One change or any number of them, as a list."""
    is_one = isinstance(given, str | Mapping | Node) or (
        isinstance(given, tuple) and len(given) == 3 and given[0] in ("after", "before")  # noqa: PLR2004  # side, label, item
    )
    return [given] if is_one else list(given)
