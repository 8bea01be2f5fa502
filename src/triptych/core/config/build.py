"""Items become parts: the component is found, its settings are validated."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, PositiveInt

from triptych.core.components.catalog import Catalog, UnknownComponent
from triptych.core.components.component import Kind
from triptych.core.components.entry import Entry, PluginFault
from triptych.core.config.items import Item, parse_item
from triptych.core.config.nodes import Node, node_of, shown
from triptych.core.config.part import Part, PortChange
from triptych.core.config.settings import Nested, Settings
from triptych.core.config.validate import validate
from triptych.core.config_error import ConfigError, Where
from triptych.core.dataclass import dataclass
from triptych.core.paths import Paths

M = TypeVar("M", bound=BaseModel)


Dtype = Literal["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
"""What a port may hold, by numpy's names."""


class PortSettings(Settings):
    """One entry of ``ports``: what is different from what the graph says.

    dtype: the pipeline's, cast from or to the graph's own.
    """

    port: str | None = Field(default=None, min_length=1)
    axes: tuple[str | PositiveInt, ...] | None = None
    absent: Literal["zeros"] | float | None = None
    dtype: Dtype | None = None


class SiblingSettings(Settings):
    """The keys beside a stage's name. `ports` is by the component's own port name."""

    ports: dict[str, PortSettings] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class Builder:
    """Makes parts with one catalog and one set of paths."""

    catalog: Catalog
    paths: Paths

    def part(self, item: Item, kind: Kind) -> Part:
        """The part of an item.

        Raises ConfigError at the place of the name, or of the setting that is wrong.
        """
        entry = self.entry(item, kind)
        model = self.settings_class(item, entry)
        ports, ignore = self._siblings(item)
        node = settings_node(item, entry, model)
        places = {}
        for keys in (node, item.ports, item.ignore):
            if keys is not None:
                places[_below(item, keys.where.path)] = keys.where
                places.update((_below(item, path), place) for path, place in keys.walk())
        return Part(
            label=item.label,
            entry=entry,
            settings=None if model is None else self.settings(model, node),
            where=item.where,
            ports=ports,
            ignore=ignore,
            _places=places,
        )

    def entry(self, item: Item, kind: Kind) -> Entry:
        """What the catalog knows of the item's component."""
        try:
            return self.catalog.find(kind, item.name)
        except UnknownComponent as error:
            raise ConfigError(
                item.where,
                error.cause,
                nearest=error.nearest,
                known=error.known,
                hint=error.hint,
            ) from None
        except PluginFault as fault:
            raise ConfigError(item.where, str(fault), exit_code=fault.exit_code) from fault

    def settings_class(self, item: Item, entry: Entry) -> type[BaseModel] | None:
        """The component's inner ``Settings``; None where it has none."""
        try:
            model = getattr(entry.load(), "Settings", None)
        except PluginFault as fault:
            raise ConfigError(item.where, str(fault), exit_code=fault.exit_code) from fault
        if model is None or (isinstance(model, type) and issubclass(model, BaseModel)):
            return model
        cause = f"{entry.full_name} has Settings that are not a triptych.Settings"
        raise ConfigError(item.where, cause, exit_code=1)

    def settings(self, model: type[M], node: Node) -> M:
        """Settings of a mapping of values, items among them made into parts."""

        def nested(kind: Kind, value: Any, name: str) -> Part:
            where = node.where.under(name)
            return self.part(parse_item(node_of(value, where), kind, where), kind)

        values = _prepared(model, node, self)
        context = {"paths": self.paths, "part": nested, "plugins": self.catalog.files}
        return validate(model, node, values, context)

    def with_main(self, item: Item, kind: Kind, value: Node) -> Item:
        """The item with another main setting; a mapping replaces all of its settings."""
        value = value.at(item.where)
        if value.items is None and item.settings is not None and item.settings.items is not None:
            main = self.entry(item, kind).component.main
            if main is not None:
                value = item.settings.with_key(main, value)
        return replace(item, settings=value)

    def _siblings(self, item: Item) -> tuple[Mapping[str, PortChange], tuple[str, ...]]:
        given = {"ports": item.ports, "ignore": item.ignore}
        nodes = {key: node for key, node in given.items() if node is not None}
        if item.ports is not None and item.ports.items is not None:
            # `graph_name: port` is short for `graph_name: {port: port}`.
            spelled = {
                name: replace(port, value={"port": port}) if port.items is None else port
                for name, port in item.ports.items.items()
            }
            nodes["ports"] = replace(item.ports, value=spelled)
        siblings = self.settings(SiblingSettings, Node(nodes, item.where))
        changes = {
            name: PortChange(
                port=change.port or name,
                axes=change.axes,
                absent=0.0 if change.absent == "zeros" else change.absent,
                dtype=change.dtype,
            )
            for name, change in siblings.ports.items()
        }
        return changes, siblings.ignore


def settings_node(item: Item, entry: Entry, model: type[BaseModel] | None) -> Node:
    """The settings of an item as a mapping: a bare value is put under the main setting.

    Raises ConfigError when the component takes no settings, or none that a bare value fills.
    """
    node = item.settings
    if node is None:
        return Node({}, item.where)
    if model is None:
        if node.items == {}:
            return node
        raise ConfigError(node.where, f"{entry.full_name} takes no settings; write its name alone")
    if node.items is not None:
        return node
    main = entry.component.main
    if main is None:
        raise ConfigError(
            node.where,
            f"{shown(node.value)} stands where a mapping of settings belongs: "
            f"{entry.full_name} has no main setting",
            known=model.model_fields,
        )
    return Node({main: node}, item.where, {main: node.where})


def nested_kind(model: type[BaseModel], name: str) -> Kind | None:
    """The kind of the items that a setting holds; None for other settings."""
    field = model.model_fields.get(name)
    found = None if field is None else _nested(field.annotation, field.metadata)
    return found.kind if found else None


def part_of(kind: Kind, value: Any, name: str) -> Part:
    """The part of an item that Python code gives as setting `name`, with paths as they are."""
    here = Path.cwd()
    builder = Builder(Catalog(), Paths(root=here, here=here, allow_outside=True))
    where = Where(name)
    return builder.part(parse_item(node_of(value, where), kind, where), kind)


def _below(item: Item, path: str) -> str:
    """A dotted path without the item's own."""
    return path[len(item.where.path) + 1 :]


def _prepared(model: type[BaseModel], node: Node, builder: Builder) -> dict[str, Any]:
    """The values of a mapping, as strict validation wants them.

    Items are parts, and lists are tuples where the model says so.
    """
    values = {}
    for name in node.items or {}:
        field = model.model_fields.get(name)
        child = node.child(name)
        if field is None:
            values[name] = child.plain()
        else:
            values[name] = _value(field.annotation, field.metadata, child, builder)
    return values


def _value(annotation: Any, metadata: Sequence[Any], node: Node, builder: Builder) -> Any:
    nested = _nested(annotation, metadata)
    if nested is not None:
        return builder.part(parse_item(node, nested.kind, node.where), nested.kind)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Union, types.UnionType):
        inner = next((one for one in arguments if origin is Annotated or _fits(one, node)), Any)
        return _value(inner, arguments[1:] if origin is Annotated else (), node, builder)
    if origin in (list, tuple) and node.list is not None:
        element = arguments[0] if arguments else Any
        values = [_value(element, (), node.child(i), builder) for i in range(len(node.list))]
        return tuple(values) if origin is tuple else values
    if origin is dict and node.items is not None:
        return {key: _value(arguments[1], (), node.child(key), builder) for key in node.items}
    if _is_model(annotation) and node.items is not None:
        return _prepared(annotation, node, builder)
    return node.plain()


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fits(annotation: Any, node: Node) -> bool:
    """Whether a member of a union is the one that a value's structure speaks for."""
    origin = get_origin(annotation)
    if origin is Annotated:
        nested = _nested(*_split(annotation))
        return (nested is not None and node.value is not None) or _fits(_split(annotation)[0], node)
    if node.list is not None:
        return origin in (list, tuple)
    return node.items is not None and (_is_model(annotation) or origin is dict)


def _split(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    first, *rest = get_args(annotation)
    return first, tuple(rest)


def _nested(annotation: Any, metadata: Sequence[Any]) -> Nested | None:
    if get_origin(annotation) is Annotated:
        annotation, metadata = _split(annotation)
    return next((mark for mark in metadata if isinstance(mark, Nested)), None)
