"""ONNX graphs for tests, written without the package `onnx`.

    write_graph(
        folder / "negate.onnx",
        inputs=[Port("pixel_values", "float32", ("patches", 16))],
        outputs=[Port("negated", "float32", ("patches", 16))],
        nodes=[Node("Neg", ["pixel_values"], ["negated"])],
    )

An ONNX file is a protocol buffer: fields with numbers, which are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from triptych.core.graphs.header import DTYPES
from triptych.core.ports import Array, Port

IR_VERSION = 10
OPSET = 21
"""The newest that every supported ONNX Runtime loads."""

CODES = {name: code for code, name in DTYPES.items()}

_LOW_SEVEN, _MORE = 0x7F, 0x80
_INT_ATTRIBUTE, _INTS_ATTRIBUTE = 2, 7


@dataclass(frozen=True)
class Node:
    """One operator of ONNX's own. attributes: whole numbers, or lists of them."""

    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int | Sequence[int]] = field(default_factory=dict)


def write_graph(
    path: Path,
    *,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    nodes: Sequence[Node] = (),
    weights: Mapping[str, Array] | None = None,
) -> Path:
    """Write a graph; the path. Without nodes it only declares ports, which `check` reads."""
    graph = b"".join(_field(1, _node(node)) for node in nodes)
    graph += _field(2, path.stem.encode())
    graph += b"".join(_field(5, _tensor(name, value)) for name, value in (weights or {}).items())
    graph += b"".join(_field(11, _port(port)) for port in inputs)
    graph += b"".join(_field(12, _port(port)) for port in outputs)
    opset = _field(1, b"") + _number(2, OPSET)
    model = _number(1, IR_VERSION) + _field(7, graph) + _field(8, opset)
    path.write_bytes(model)
    return path


def _node(node: Node) -> bytes:
    parts = [_field(1, name.encode()) for name in node.inputs]
    parts += [_field(2, name.encode()) for name in node.outputs]
    parts.append(_field(4, node.op.encode()))
    parts += [_field(5, _attribute(name, value)) for name, value in node.attributes.items()]
    return b"".join(parts)


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    named = _field(1, name.encode())
    if isinstance(value, int):
        return named + _number(3, value) + _number(20, _INT_ATTRIBUTE)
    return named + b"".join(_number(8, one) for one in value) + _number(20, _INTS_ATTRIBUTE)


def _tensor(name: str, value: Array) -> bytes:
    sizes = b"".join(_number(1, size) for size in value.shape)
    code = CODES[str(value.dtype)]
    data = np.ascontiguousarray(value).tobytes()
    return sizes + _number(2, code) + _field(8, name.encode()) + _field(9, data)


def _port(port: Port) -> bytes:
    sizes = b"".join(
        _field(1, _number(1, axis) if isinstance(axis, int) else _field(2, axis.encode()))
        for axis in port.axes
    )
    tensor = _number(1, CODES[port.dtype]) + _field(2, sizes)
    return _field(1, port.name.encode()) + _field(2, _field(1, tensor))


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number is of 64 bits."""
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > _LOW_SEVEN:
        parts.append(value & _LOW_SEVEN | _MORE)
        value >>= 7
    parts.append(value)
    return bytes(parts)
