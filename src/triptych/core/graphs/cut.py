"""A graph without some of its outputs, and without what only they need.

ONNX Runtime computes every node of a graph, whatever outputs are fetched, and drops none that
leads nowhere. So what nobody reads is cut off before a session is made. This works on the wire
format, as `graph_header` does: weights are copied as bytes and never looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from triptych.core.graphs.header import Reader

_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_OUTPUT = 7, 1, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE, _ATTRIBUTE_GRAPHS = 1, 2, 4, 5, (6, 11)
_CHOICE = "If"
_VALUE_NAME = 1
_BYTES = 2
_SEVEN_BITS, _MORE = 0x7F, 0x80

Span = tuple[int, int]


def cut_outputs(model: bytes, unwanted: Collection[str]) -> bytes:
    """The ONNX model without the outputs of these names, nor the nodes that serve nothing else."""
    return _Cut(model, frozenset(unwanted)).model()


class _Cut:
    def __init__(self, data: bytes, unwanted: frozenset[str]) -> None:
        self.data = data
        self.unwanted = unwanted
        self.reader = Reader(data)

    def model(self) -> bytes:
        parts: list[bytes] = []
        for field, value, whole in self.fields(0, len(self.data)):
            if field == _MODEL_GRAPH:
                outputs = [self.name(*one) for one in self.values(*value, _GRAPH_OUTPUT)]
                cut = {place for place, name in enumerate(outputs) if name in self.unwanted}
                parts.append(_message(_MODEL_GRAPH, self.graph(*value, cut)))
            else:
                parts.append(self.data[slice(*whole)])
        return b"".join(parts)

    def graph(self, start: int, end: int, cut: Collection[int]) -> bytes:
        """The graph without the outputs at these places."""
        fields = list(self.fields(start, end))
        outputs = self.values(start, end, _GRAPH_OUTPUT)
        gone = {outputs[place] for place in cut}
        needed = {self.name(*value) for value in outputs if value not in gone}
        kept: dict[Span, bytes] = {}
        # Nodes stand after those that they read.
        for field, value, whole in reversed(fields):
            if field == _GRAPH_NODE and not needed.isdisjoint(self.names(*value, _NODE_OUTPUT)):
                node = self.node(*value, needed)
                kept[whole] = _message(_GRAPH_NODE, node)
                needed |= _Cut(node, frozenset()).read(0, len(node))
        return b"".join(
            kept.get(whole, b"") if field == _GRAPH_NODE else self.data[slice(*whole)]
            for field, value, whole in fields
            if field != _GRAPH_OUTPUT or value not in gone
        )

    def node(self, start: int, end: int, needed: Collection[str]) -> bytes:
        """The node; one that chooses between graphs without the outputs that are not needed."""
        outputs = self.values(start, end, _NODE_OUTPUT)
        cut = {
            place for place, output in enumerate(outputs) if self.reader.text(*output) not in needed
        }
        if not cut or self.names(start, end, _NODE_OP) != [_CHOICE]:
            return self.data[start:end]
        gone = {outputs[place] for place in cut}
        return b"".join(
            _message(_NODE_ATTRIBUTE, self.attribute(*value, cut))
            if field == _NODE_ATTRIBUTE
            else self.data[slice(*whole)]
            for field, value, whole in self.fields(start, end)
            if field != _NODE_OUTPUT or value not in gone
        )

    def attribute(self, start: int, end: int, cut: Collection[int]) -> bytes:
        return b"".join(
            _message(field, self.graph(*value, cut))
            if field in _ATTRIBUTE_GRAPHS
            else self.data[slice(*whole)]
            for field, value, whole in self.fields(start, end)
        )

    def read(self, start: int, end: int) -> set[str]:
        """What a node reads, its subgraphs included."""
        found = set(self.names(start, end, _NODE_INPUT))
        for field, value, _ in self.fields(start, end):
            if field != _NODE_ATTRIBUTE:
                continue
            for inner, graph, _ in self.fields(*value):
                if inner in _ATTRIBUTE_GRAPHS:
                    for part, node, _ in self.fields(*graph):
                        if part == _GRAPH_NODE:
                            found |= self.read(*node)
                        elif part == _GRAPH_OUTPUT:
                            found.add(self.name(*node))
        return found

    def name(self, start: int, end: int) -> str:
        return next(iter(self.names(start, end, _VALUE_NAME)), "")

    def names(self, start: int, end: int, wanted: int) -> list[str]:
        return [self.reader.text(*value) for value in self.values(start, end, wanted)]

    def values(self, start: int, end: int, wanted: int) -> list[Span]:
        """Where the values of one field are."""
        return [value for field, value, _ in self.fields(start, end) if field == wanted]

    def fields(self, start: int, end: int) -> Iterator[tuple[int, Span, Span]]:
        """Each field's number, where its value is, and where all of it is."""
        begin = start
        for field, first, last in self.reader.fields(start, end):
            yield field, (first, last), (begin, last)
            begin = last


def _message(field: int, content: bytes) -> bytes:
    """A field that holds a message."""
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > _SEVEN_BITS:
        encoded.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
