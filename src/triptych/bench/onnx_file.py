"""The nodes and initialisers of an ONNX file, read without its weights.

Protocol buffers as protobuf.dev, "Encoding", has them, over a memory map; field numbers are
those of onnx.proto3. Weights are measured by their shapes, so their bytes are never touched.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 25: 2, 26: 2,
}  # fmt: skip
"""Of one element, by onnx.TensorProto.DataType."""

_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_FUNCTION_NODE = 7
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_GRAPH = 1, 3, 6
_TENSOR_DIM, _TENSOR_TYPE, _TENSOR_NAME = 1, 2, 8


@dataclass(frozen=True)
class Tensor:
    """One initialiser. shape: as it is declared; bits: of one element."""

    name: str
    shape: tuple[int, ...]
    bits: int

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return -(-math.prod(self.shape) * self.bits // 8)


@dataclass(frozen=True)
class Node:
    """One node. inputs: names, empty where one is left out. integers: its int attributes.

    branches: the nodes of each of its subgraphs. outputs: names.
    """

    op: str
    inputs: tuple[str, ...]
    integers: dict[str, int]
    branches: tuple[tuple[Node, ...], ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnnxFile:
    """nodes: with those of functions. weights: by name, those of subgraphs as well."""

    nodes: tuple[Node, ...]
    weights: dict[str, Tensor]


def read_onnx(path: Path) -> OnnxFile:
    """Read the file at `path`, which was loaded before and is known to be sound."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        for field, start, end in reader.fields(0, len(data)):
            if field == _MODEL_GRAPH:
                reader.graph(start, end)
            elif field == _MODEL_FUNCTION:
                for inner, begin, stop in reader.fields(start, end):
                    if inner == _FUNCTION_NODE:
                        reader.node(begin, stop)
        return OnnxFile(tuple(reader.nodes), {one.name: one for one in reader.weights})


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.nodes: list[Node] = []
        self.weights: list[Tensor] = []

    def graph(self, start: int, end: int) -> None:
        for field, begin, stop in self.fields(start, end):
            if field == _GRAPH_NODE:
                self.node(begin, stop)
            elif field == _GRAPH_INITIALIZER:
                self.weights.append(self.tensor(begin, stop))

    def node(self, start: int, end: int) -> None:
        op, inputs, outputs, integers = "", list[str](), list[str](), dict[str, int]()
        outer, branches = self.nodes, list[tuple[Node, ...]]()
        for field, begin, stop in self.fields(start, end):
            if field == _NODE_OP:
                op = self.text(begin, stop)
            elif field == _NODE_INPUT:
                inputs.append(self.text(begin, stop))
            elif field == _NODE_OUTPUT:
                outputs.append(self.text(begin, stop))
            elif field == _NODE_ATTRIBUTE:
                self.nodes = []
                self.attribute(begin, stop, integers)
                if self.nodes:
                    branches.append(tuple(self.nodes))
        self.nodes = outer
        self.nodes.append(Node(op, tuple(inputs), integers, tuple(branches), tuple(outputs)))

    def attribute(self, start: int, end: int, integers: dict[str, int]) -> None:
        name = ""
        for field, begin, stop in self.fields(start, end):
            if field == _ATTRIBUTE_NAME:
                name = self.text(begin, stop)
            elif field == _ATTRIBUTE_INT:
                integers[name] = self.varint(begin)[0]
            elif field == _ATTRIBUTE_GRAPH:
                self.graph(begin, stop)

    def tensor(self, start: int, end: int) -> Tensor:
        name, bits, shape = "", 0, list[int]()
        for field, begin, stop in self.fields(start, end):
            if field == _TENSOR_NAME:
                name = self.text(begin, stop)
            elif field == _TENSOR_TYPE:
                bits = BITS.get(self.varint(begin)[0], 0)
            elif field == _TENSOR_DIM:
                # Dimensions are packed into one field, or stand each in its own.
                place = begin
                while place < stop:
                    size, place = self.varint(place)
                    shape.append(size)
        return Tensor(name, tuple(shape), bits)

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (field number, start, end) of each field's value between `start` and `end`."""
        position = start
        while position < end:
            key, position = self.varint(position)
            wire = key & 7
            if wire == 0:
                stop = self.varint(position)[1]
            elif wire == 2:  # noqa: PLR2004  # a length and so many bytes
                length, position = self.varint(position)
                stop = position + length
            else:
                stop = position + (8 if wire == 1 else 4)
            yield key >> 3, position, stop
            position = stop

    def varint(self, position: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004  # the last byte of a number
                return value, position
            shift += 7

    def text(self, start: int, end: int) -> str:
        return self.data[start:end].decode()
