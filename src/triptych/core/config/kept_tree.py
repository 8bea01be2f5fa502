"""What a YAML file says, kept with the places of everything for the next start that reads it.

Importing the YAML library and parsing a pipeline's file takes longer than all that is done with it.
A tree is known by the file's bytes, the release and `FORM`. Of a wrong file none is kept; it is
read again, and told of, in full. What is damaged, or no such tree, is passed over.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from triptych import __version__
from triptych.core.config.nodes import Node
from triptych.core.config_error import Where
from triptych.core.system.kept_files import KeptFiles

KIND = "trees"
"""What the trees are among the files that are kept."""

FORM = 1
"""One more whenever the reader finds something else in a text, or trees are kept otherwise."""

MOST_BYTES = 2**20
"""What all trees may take; one has some 500 bytes."""


def read_kept(data: bytes, source: str) -> Node | None:
    """`read_yaml`, not asked for bytes that it has read before. Raises ConfigError."""
    among = KeptFiles.usual(KIND, MOST_BYTES)
    if among is None:
        return _read(data, source)
    kept = among.of(f"{__version__} {FORM}\0".encode() + data)
    content = kept.read()
    if content:
        with suppress(ValueError, TypeError, RecursionError):
            return _grown(json.loads(content), source)
    node = _read(data, source)
    if node is not None:
        with suppress(TypeError, ValueError):  # Of what JSON has no word for.
            kept.write(json.dumps(_written(node)).encode())
    return node


def _read(data: bytes, source: str) -> Node | None:
    from triptych.core.config.reader import read_yaml

    return read_yaml(data, source)


def _written(node: Node) -> list[Any]:
    """Line, column, value; before each value of a mapping, the line and column of its key."""
    value = node.value
    if node.items is not None:
        value = {
            key: [node.keys[key].line, node.keys[key].column, _written(below)]
            for key, below in node.items.items()
        }
    elif node.list is not None:
        value = [_written(below) for below in node.list]
    return [node.where.line, node.where.column, value]


def _grown(written: Any, source: str) -> Node:
    """The node that was written so. Raises ValueError and TypeError for anything else."""
    line, column, value = written
    where = _place(source, line, column)
    if isinstance(value, list):
        return Node([_grown(below, source) for below in value], where, {})
    if isinstance(value, dict):
        keys = {key: _place(source, *at) for key, (*at, _) in value.items()}
        below = {key: _grown(node, source) for key, (_, _, node) in value.items()}
        return Node(below, where, keys)
    return Node(value, where)


def _place(source: str, line: Any, column: Any) -> Where:
    if type(line) is not int or type(column) is not int:
        raise TypeError("no place in a file")
    return Where(source, line, column)
