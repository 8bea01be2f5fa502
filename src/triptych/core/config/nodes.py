"""Values with the places where they were written: the one form of YAML, flags and keywords."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from triptych.core.config_error import ConfigError, Where
from triptych.core.dataclass import dataclass
from triptych.core.paths import Typed

LONGEST_SHOWN = 60
"""How many characters of a wrong value a message repeats."""

LARGEST = 1_000_000
"""Bytes that a pipeline file may have; a real one has about a thousand."""

DEEPEST = 40
"""How deep mappings and lists may be nested; a pipeline file needs about six levels."""


@dataclass(frozen=True, eq=False)
class Node:
    """A value and its place.

    value: text, number, bool or None; a dict of nodes; or a list of nodes. A foreign object,
    which only Python callers can give, is a value too.
    keys: the place of each key of a mapping.
    """

    value: Any
    where: Where
    keys: Mapping[str, Where] = field(default_factory=dict)

    @property
    def items(self) -> dict[str, Node] | None:
        """The value, where it is a mapping."""
        return self.value if isinstance(self.value, dict) else None

    @property
    def list(self) -> list[Node] | None:
        """The value, where it is a list."""
        return self.value if isinstance(self.value, list) else None

    def at(self, path: Where) -> Node:
        """The same node, known by the dotted path of `path`."""
        return replace(self, where=replace(self.where, path=path.path))

    def key(self, key: str) -> Where:
        """The place of a key of this mapping."""
        return replace(self.keys.get(key, self.where), path=self.where.under(key).path)

    def child(self, key: str | int) -> Node:
        """The value under a key or an index, known by its dotted path."""
        node: Node = self.value[key]
        return node.at(self.where.under(key))

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def with_key(self, key: str, value: Node) -> Node:
        """A copy of this mapping in which `key` has `value`."""
        return replace(self, value={**self.value, key: value}, keys={**self.keys, key: value.where})

    def walk(self) -> Iterator[tuple[str, Where]]:
        """The dotted path and the place of everything below: of keys, and of list elements."""
        if isinstance(self.value, dict):
            for key in self.value:
                place = self.key(key)
                yield place.path, place
                yield from self.child(key).walk()
        elif isinstance(self.value, list):
            for index in range(len(self.value)):
                node = self.child(index)
                yield node.where.path, node.where
                yield from node.walk()


def node_of(value: Any, where: Where, *, depth: int = 0) -> Node:
    """A node tree of what a flag or a keyword gives, all of it at `where`.

    Raises ConfigError when a mapping has a key that is not text, or is nested too deeply.
    """
    if isinstance(value, Node):
        return value
    if depth > DEEPEST:
        raise ConfigError(where, f"this is nested more than {DEEPEST} levels deep")
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise ConfigError(where, f"the key {shown(wrong[0])} is not text")
        nodes = {key: node_of(item, where, depth=depth + 1) for key, item in value.items()}
        return Node(nodes, where, dict.fromkeys(nodes, where))
    if isinstance(value, list | tuple):
        return Node([node_of(item, where, depth=depth + 1) for item in value], where)
    if isinstance(value, PathLike):
        # Python's relative paths start at the working directory.
        value = fspath(value) if Path(value).is_absolute() else f"./{fspath(value)}"
    if isinstance(value, str) and value.startswith("./"):
        value = Typed(value)
    return Node(value, where)


def shown(value: Any) -> str:
    """A value as a message names it: as YAML would write it, or what kind of thing it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
