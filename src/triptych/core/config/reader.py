"""YAML to nodes: safe, bounded, and with the line and column of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from triptych.core.config.nodes import DEEPEST, LARGEST, Node, shown
from triptych.core.config_error import ConfigError, Where
from triptych.core.dataclass import dataclass

MOST_VALUES = 20_000
"""Values that a file may stand for once its aliases are expanded (a guard against bombs)."""

_SCALARS = ("bool", "float", "int", "null")
"""The YAML 1.2 types that are not text; all others, such as timestamps, are read as text."""


def read_yaml(data: bytes | str, source: str) -> Node | None:
    """The one document of `data`; None when there is nothing in it.

    source: what messages call it. Booleans and numbers are those of YAML 1.2 (``yes`` is text).
    Raises ConfigError for what is not one plain, bounded document: other encodings than UTF-8,
    syntax errors, tabs, tags, duplicate or non-text keys, several documents, bombs.
    """
    start = Where(source, 1, 1)
    size = len(data)
    if size > LARGEST:
        raise ConfigError(start, f"is too large: {size:,} bytes, where {LARGEST:,} are allowed")
    text = _decoded(data, source) if isinstance(data, bytes) else data
    yaml = YAML(typ="safe", pure=True)
    try:
        return _Builder(yaml, source).document(yaml.parse(text))
    except MarkedYAMLError as error:
        raise _syntax_error(error, start) from None
    except YAMLError as error:
        raise _character_error(error, text, start) from None


@dataclass
class _Open:
    """A mapping or list that is being read: its node so far, and a key that waits."""

    node: Node
    anchor: str | None
    key: str | None = None
    key_where: Where | None = None
    size: int = 1
    height: int = 1

    def done(self) -> _Done:
        """What was read."""
        return _Done(self.node, self.size, self.height)


@dataclass(frozen=True)
class _Done:
    """A finished value, how many values it stands for, and how many levels it has."""

    node: Node
    size: int = 1
    height: int = 0


@dataclass
class _Builder:
    """Turns the parser's events into nodes, without recursion."""

    yaml: YAML
    source: str
    total: int = 0
    anchors: dict[str, _Done | None] = field(default_factory=dict)
    """The values of anchors; None while one is open."""

    def document(self, events: Iterator[Any]) -> Node | None:
        found: Node | None = None
        stack: list[_Open] = []
        documents = 0
        for event in events:
            where = self._where(event)
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    cause = "a second document begins; a file holds one"
                    hint = "remove what follows, or put it into a file of its own"
                    raise ConfigError(where, cause, hint=hint)
                if event.version not in (None, (1, 2)) or event.tags:
                    raise ConfigError(where, "YAML directives are not supported; remove the line")
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                closed = stack.pop()
                found = self._place(closed.done(), closed.anchor, where, stack)
            elif isinstance(event, MappingStartEvent | SequenceStartEvent):
                self._check(event, where)
                is_mapping = isinstance(event, MappingStartEvent)
                self._refuse_key(stack, where, "a mapping" if is_mapping else "a list")
                node = Node({} if is_mapping else [], where, {})
                self._count(1, where)
                if event.anchor:
                    self.anchors[event.anchor] = None
                stack.append(_Open(node, event.anchor))
                self._check_depth(len(stack), where)
            elif isinstance(event, ScalarEvent):
                self._check(event, where)
                node = Node(self._scalar(event, where), where)
                self._count(1, where)
                found = self._place(_Done(node), event.anchor, where, stack)
            elif isinstance(event, AliasEvent):
                found = self._alias(event, where, stack)
        return found

    def _alias(self, event: Any, where: Where, stack: list[_Open]) -> Node:
        if event.anchor not in self.anchors:
            raise ConfigError(where, f"the alias *{event.anchor} has no anchor before it")
        target = self.anchors[event.anchor]
        if target is None:
            raise ConfigError(where, f"the alias *{event.anchor} stands inside its own anchor")
        self._refuse_key(stack, where, "an alias")
        self._count(target.size, where)
        moved = replace(target, node=replace(target.node, where=where))
        return self._place(moved, None, where, stack)

    def _place(self, done: _Done, anchor: str | None, where: Where, stack: list[_Open]) -> Node:
        """Put a finished value into what is open; return its node."""
        node = done.node
        if anchor:
            self.anchors[anchor] = done
        if not stack:
            return node
        self._check_depth(len(stack) + done.height, where)
        parent = stack[-1]
        parent.size += done.size
        parent.height = max(parent.height, done.height + 1)
        if parent.node.list is not None:
            parent.node.list.append(node)
        elif parent.key is None:
            if not isinstance(node.value, str):
                raise ConfigError(node.where, f"the key {shown(node.value)} is not text")
            if node.value == "<<":
                raise ConfigError(node.where, "merge keys (<<) are not supported; write it out")
            if node.value in parent.node.value:
                first = parent.node.keys[node.value]
                cause = f"the key {node.value!r} appears twice; first in line {first.line}"
                raise ConfigError(node.where, cause)
            parent.key, parent.key_where = node.value, node.where
        else:
            parent.node.value[parent.key] = node
            parent.node.keys[parent.key] = parent.key_where  # type: ignore[index]  # being built
            parent.key = None
        return node

    def _scalar(self, event: Any, where: Where) -> Any:
        resolver, constructor = self.yaml.resolver, self.yaml.constructor
        tag = resolver.resolve(ScalarNode, event.value, event.implicit)
        kind = str(tag).rpartition(":")[2]
        if kind not in _SCALARS:
            return event.value
        node = ScalarNode(tag, event.value)
        try:
            return getattr(constructor, f"construct_yaml_{kind}")(node)
        except ValueError:
            raise ConfigError(where, f"{shown(event.value)} is not a number") from None

    def _check(self, event: Any, where: Where) -> None:
        if event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            raise ConfigError(where, f"tags are not supported; remove {tag}")

    def _refuse_key(self, stack: list[_Open], where: Where, what: str) -> None:
        if stack and stack[-1].node.items is not None and stack[-1].key is None:
            raise ConfigError(where, f"a key is text, not {what}")

    def _check_depth(self, levels: int, where: Where) -> None:
        if levels > DEEPEST:
            raise ConfigError(where, f"this is nested more than {DEEPEST} levels deep")

    def _count(self, values: int, where: Where) -> None:
        self.total += values
        if self.total > MOST_VALUES:
            raise ConfigError(where, f"the file stands for more than {MOST_VALUES:,} values")

    def _where(self, event: Any) -> Where:
        return Where(self.source, event.start_mark.line + 1, event.start_mark.column + 1)


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        cause = f"is not UTF-8 text: byte 0x{data[error.start]:02x}"
        raise ConfigError(Where(source, line, column), cause) from None


def _syntax_error(error: MarkedYAMLError, start: Where) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    where = replace(start, line=mark.line + 1, column=mark.column + 1) if mark else start
    problem = " ".join(str(error.problem or error.context).split())
    if "\\t" in problem:
        return ConfigError(where, "a tab stands where YAML wants spaces")
    problem = problem.replace("but got '<stream end>'", "but the file ends here")
    hint = None
    if "mapping values are not allowed" in problem:
        hint = "a text that contains ': ' needs quotes; or the line above has no ':'"
    if "<block end>" in problem:
        problem = "this line belongs to nothing above it"
        hint = "check how far it is indented, and whether a list and a mapping are mixed"
    return ConfigError(where, f"is not valid YAML: {problem}", hint=hint)


def _character_error(error: YAMLError, text: str, start: Where) -> ConfigError:
    position = getattr(error, "position", 0)
    before = text[:position]
    where = replace(
        start, line=before.count("\n") + 1, column=position - (before.rfind("\n") + 1) + 1
    )
    code = ord(text[position]) if position < len(text) else 0
    return ConfigError(where, f"the character U+{code:04X} may not appear in YAML")
