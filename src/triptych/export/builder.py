"""A graph, written down node by node: a thin, readable layer over onnx_ir.

graph = GraphBuilder("embeddings")
ids = graph.input("input_ids", INT64, ["B", "S"])
graph.output("inputs_embeds", graph.op("Gather", table, ids), FLOAT, ["B", "S", 64])
model = graph.model()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from triptych.core.ports import Array
from triptych.export.tensors import Bundle, Form, Pieces

FLOAT = ir.DataType.FLOAT
FLOAT16 = ir.DataType.FLOAT16
INT32 = ir.DataType.INT32
INT64 = ir.DataType.INT64

# Opset 21 with IR version 10 is the newest that every ONNX Runtime since 1.19 loads.
OPSET = 21
IR_VERSION = 10
MICROSOFT = "com.microsoft"

Axes = Sequence[int | str]

# Where a model has its offers, by name, until it is written.
OFFERS = "triptych.offers"


@dataclass(frozen=True)
class Offer:
    """A float32 output that a graph may have besides; `make` adds what computes it."""

    make: Callable[[], ir.Value]
    axes: Axes


class _Names:
    """What a graph and its subgraphs share: the taken names, the weights and the constants."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._taken: set[str] = set(graph.initializers)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def claim(self, name: str) -> str:
        """`name`, or the first of `name_2`, `name_3`, ... that no value has yet."""
        claimed, number = name, 1
        while claimed in self._taken:
            number += 1
            claimed = f"{name}_{number}"
        self._taken.add(claimed)
        return claimed

    def constant(self, array: Array) -> ir.Value:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            label = self.claim(f"constant_{len(self._constants)}")
            tensor = ir.Tensor(array, name=label)
            self._constants[key] = self.initializer(tensor, label, array.shape, tensor.dtype)
        return self._constants[key]

    def initializer(
        self, tensor: ir.TensorProtocol, name: str, shape: Sequence[int], dtype: ir.DataType
    ) -> ir.Value:
        value = ir.Value(
            name=name,
            shape=ir.Shape(shape),
            type=ir.TensorType(dtype),
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value


class GraphBuilder:
    """Collects nodes, inputs, outputs and weights; names follow the open scopes."""

    def __init__(
        self, name: str, *, names: _Names | None = None, scopes: Sequence[str] = ()
    ) -> None:
        self._graph = ir.Graph([], [], nodes=(), name=name, opset_imports={"": OPSET, MICROSOFT: 1})
        self._names = names or _Names(self._graph)
        self._scopes = list(scopes)
        self._offers: dict[str, Offer] = {}

    @classmethod
    def branches(cls, graph: ir.Graph, *names: str) -> list[GraphBuilder]:
        """Builders of subgraphs of a finished graph: its values may be read, constants go into it.

        names: of the subgraphs, which no value of the graph begins with. See `outcome`.
        """
        shared = _Names(graph)
        return [cls(name, names=shared, scopes=[name]) for name in names]

    def outcome(self, results: Sequence[ir.Value], dtypes: Sequence[ir.DataType]) -> ir.Graph:
        """The graph so far, which gives these values."""
        for value, dtype in zip(results, dtypes, strict=True):
            value.dtype = dtype
        self._graph.outputs.extend(results)
        return self._graph

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefixes the names of everything made inside with `name/`."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def label(self, name: str) -> str:
        """`name` below the open scopes."""
        return "/".join([*self._scopes, name])

    def input(self, name: str, dtype: ir.DataType, axes: Axes) -> ir.Value:
        """Declares an input; letters name the axes that vary."""
        value = ir.Value(name=self._names.claim(name), shape=ir.Shape(axes))
        value.dtype = dtype
        self._graph.inputs.append(value)
        return value

    def output(
        self, name: str, value: ir.Value, dtype: ir.DataType | None = None, axes: Axes | None = None
    ) -> ir.Value:
        """Declares `value`, made by a node of this graph, as the output `name`."""
        value.name = self._names.claim(name)
        if dtype is not None:
            value.dtype = dtype
        if axes is not None:
            value.shape = ir.Shape(axes)
        self._graph.outputs.append(value)
        return value

    def offer(self, name: str, make: Callable[[], ir.Value], axes: Axes) -> None:
        """Says of an output, f32 `axes`, that an export may ask for: see `exposing`."""
        self._offers[name] = Offer(make, axes)

    def op(
        self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: Any
    ) -> ir.Value:
        """Appends a node with one output and returns that."""
        return self.ops(op_type, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        outputs: int,
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Appends a node with several outputs and returns them."""
        label = self._names.claim(self.label(op_type))
        results = [
            ir.Value(name=label if index == 0 else self._names.claim(f"{label}:{index}"))
            for index in range(outputs)
        ]
        node = ir.Node(
            domain,
            op_type,
            inputs,
            attributes=ir.convenience.convert_attributes(attributes),
            outputs=results,
            name=label,
        )
        self._graph.append(node)
        return results

    def again(self, value: ir.Value, replaced: Mapping[ir.Value, ir.Value]) -> ir.Value:
        """What `value` would be if others stood in the place of some values before it.

        The nodes in between are there twice afterwards; their weights are not.
        """
        known = dict(replaced)
        between: list[ir.Node] = []
        wanted = [value]
        while wanted:
            node = wanted.pop().producer()
            if node is not None and node not in between:
                between.append(node)
                wanted += [one for one in node.inputs if one is not None and one not in replaced]
        for node in [node for node in self._graph if node in set(between)]:
            if known.keys().isdisjoint(one for one in node.inputs if one is not None):
                continue
            results = self.ops(
                node.op_type,
                *(None if one is None else known.get(one, one) for one in node.inputs),
                outputs=len(node.outputs),
                domain=node.domain,
                **{name: attribute.value for name, attribute in node.attributes.items()},
            )
            known.update(zip(node.outputs, results, strict=True))
        return known[value]

    def microsoft(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Appends one of ONNX Runtime's own operators, with one output."""
        return self.op(op_type, *inputs, domain=MICROSOFT, **attributes)

    def constant(self, value: Any, dtype: Any = np.int64) -> ir.Value:
        """A small constant; equal ones are stored once."""
        return self._names.constant(np.asarray(value, dtype))

    def weight(
        self,
        name: str,
        shape: Sequence[int],
        dtype: ir.DataType,
        pieces: Callable[[], Iterable[Array]],
        *,
        shared: str | None = None,
        settle: Callable[[], ir.DataType] | None = None,
    ) -> ir.Value:
        """A weight that is read and converted, piece by piece, only when the graph is written.

        pieces: gives the values in C order, as many at a time as may be in memory. shared: what
        other graphs call the same bytes, which are then stored once. settle: tells the dtype
        where it depends on the values; `dtype` is then what to expect.
        """
        form = Form(name, tuple(shape), dtype, settle)
        return self.bundle([form], lambda: ((piece,) for piece in pieces()), shared=shared)[0]

    def bundle(
        self, forms: Sequence[Form], pieces: Pieces, *, shared: str | None = None
    ) -> list[ir.Value]:
        """Weights that are made together when the graph is written; see Bundle."""
        tensors = Bundle(forms, pieces, shared=shared).tensors
        return [
            self._names.initializer(tensor, self._names.claim(form.name), form.shape, form.dtype)
            for form, tensor in zip(forms, tensors, strict=True)
        ]

    def loop(
        self,
        trips: ir.Value,
        carried: ir.Value,
        body: Callable[[GraphBuilder, ir.Value, ir.Value], ir.Value],
    ) -> ir.Value:
        """Runs `body(graph, index, carried) -> carried` for each index below `trips`.

        `index` is an int64 scalar; what is carried may be a tensor or a sequence of tensors.
        """
        label = self._names.claim("loop")
        inner = GraphBuilder(label, names=self._names, scopes=[*self._scopes, label])
        index = inner.input(inner.label("index"), INT64, [])
        going = inner.input(inner.label("going"), ir.DataType.BOOL, [])
        state = ir.Value(name=self._names.claim(inner.label("carried")), type=carried.type)
        inner._graph.inputs.append(state)
        result = body(inner, index, state)
        still = inner.op("Identity", going)
        still.dtype, still.shape = ir.DataType.BOOL, ir.Shape([])
        result.type = carried.type
        inner._graph.outputs.extend([still, result])
        return self.op("Loop", trips, None, carried, body=inner._graph)

    def choice(
        self,
        condition: ir.Value,
        then: Callable[[GraphBuilder], ir.Value],
        otherwise: Callable[[GraphBuilder], ir.Value],
    ) -> ir.Value:
        """What one of two makes, f32: `then` where the condition, bool of one value, is true."""
        label = self._names.claim("choice")
        ways = []
        for name, make in (("then", then), ("otherwise", otherwise)):
            way = f"{label}_{name}"
            inner = GraphBuilder(way, names=self._names, scopes=[*self._scopes, way])
            ways.append(inner.outcome([make(inner)], [FLOAT]))
        return self.op("If", condition, then_branch=ways[0], else_branch=ways[1])

    def model(self) -> ir.Model:
        """The finished graph."""
        model = ir.Model(self._graph, ir_version=IR_VERSION, producer_name="triptych")
        model.meta[OFFERS] = self._offers
        return model
