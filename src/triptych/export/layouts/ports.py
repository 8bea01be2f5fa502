"""Changes to the ports of exported graphs, and to nothing else: no weight is read.

A new node stands in front of a graph's own; its values are called `layout/...`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from triptych.export.builder import INT64

# What other tools call the axes that vary; transformers.js and GenAI go by some of these names.
AXES: Mapping[str, str] = {
    "B": "batch_size",
    "S": "sequence_length",
    "total": "total_sequence_length",
    "N": "num_image_tokens",
    "R": "num_logits",
    "patches": "num_patches",
    "images": "num_images",
}
PAST, PRESENT = "past_key_values.", "present."


class Ports:
    """The ports of one graph."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self._made = 0

    @property
    def inputs(self) -> list[str]:
        """The names of what it reads, in order."""
        return [value.name or "" for value in self.graph.inputs]

    @property
    def outputs(self) -> list[str]:
        """The names of what it writes, in order."""
        return [value.name or "" for value in self.graph.outputs]

    def input(self, name: str) -> ir.Value:
        """The input of that name."""
        return next(value for value in self.graph.inputs if value.name == name)

    def output(self, name: str) -> ir.Value:
        """The output of that name."""
        return next(value for value in self.graph.outputs if value.name == name)

    def sizes(self, name: str) -> list[int]:
        """The lengths of an input's axes that are numbers, in order."""
        return [axis for axis in self.input(name).shape or () if isinstance(axis, int)]

    def rename_axes(self) -> None:
        """Axes by the names that other tools go by; a past is as long as what is in it."""
        for value in (*self.graph.inputs, *self.graph.outputs):
            name, shape = value.name or "", value.shape
            if shape is None:
                continue
            axes = [axis if isinstance(axis, int) else str(axis.value) for axis in shape]
            own = dict(AXES)
            if name.startswith(PAST):
                own["max_len"] = "past_sequence_length"
            if name.startswith(PRESENT):
                own["max_len"] = "total_sequence_length"
            value.shape = ir.Shape(
                own.get(axis, axis) if isinstance(axis, str) else axis for axis in axes
            )

    def logits_of_all(self, tokens: str) -> None:
        """Scores of every token [B, S, V] in place of those of `logit_index`.

        tokens: the input [B, S, ...] that says how many there are.
        """
        self._logits_from(tokens, None)

    def logits_of_last(self, tokens: str) -> None:
        """Scores of the last `num_logits_to_keep` tokens, of all where that is 0."""
        keep = ir.Value(name="num_logits_to_keep", shape=ir.Shape([]), type=ir.TensorType(INT64))
        self.graph.inputs.append(keep)
        self._logits_from(tokens, keep)

    def without(self, name: str, shape: Iterable[int]) -> None:
        """An input that is one no more: it is zeros f32 of that shape."""
        size = self._constant(list(shape))
        self._replace(name, [], self._node([], "ConstantOfShape", size))

    def fuse(self, first: ir.Model, name: str) -> None:
        """Puts a graph before this one, whose output of that name is this one's input.

        The inputs of `first` stand in the place of that input. Nothing is left of `first`.
        """
        graph, prefix = first.graph, f"{first.graph.name}/"
        joint = next(value for value in graph.outputs if value.name == name)
        inputs = list(graph.inputs)
        taken = {value.name for value in inputs}
        graph.inputs.clear()
        graph.outputs.clear()
        nodes = list(graph)
        graph.remove(nodes)
        for node in nodes:
            node.name = f"{prefix}{node.name}"
            for value in node.outputs:
                if value.name not in taken:
                    value.name = f"{prefix}{value.name}"
        weights = list(graph.initializers.values())
        graph.initializers.clear()
        for value in weights:
            value.name = f"{prefix}{value.name}"
            self.graph.register_initializer(value)
        at = self.inputs.index(name)
        self._replace(name, nodes, joint)
        for offset, value in enumerate(inputs):
            self.graph.inputs.insert(at + offset, value)

    def _logits_from(self, tokens: str, keep: ir.Value | None) -> None:
        nodes: list[ir.Node] = []
        counted = self.input(tokens)
        rows = self._node(nodes, "Shape", counted, start=0, end=1)
        size = self._node(nodes, "Shape", counted, start=1, end=2)
        zero, one = self._constant(0), self._constant(1)
        count = self._node(nodes, "Squeeze", size, self._constant([0]))
        first = zero
        if keep is not None:
            everything = self._node(nodes, "Equal", keep, zero)
            kept = self._node(nodes, "Where", everything, count, keep)
            first = self._node(nodes, "Sub", count, kept)
        index = self._node(nodes, "Range", first, count, one)
        index = self._node(nodes, "Unsqueeze", index, self._constant([0]))
        length = self._node(nodes, "Shape", index, start=1, end=2)
        shape = self._node(nodes, "Concat", rows, length, axis=0)
        self._replace("logit_index", nodes, self._node(nodes, "Expand", index, shape))
        logits = self.output("logits")
        axes = list(logits.shape or ())
        axes[1] = ir.SymbolicDim("S" if keep is None else "R")
        logits.shape = ir.Shape(axes)

    def _node(
        self, nodes: list[ir.Node], kind: str, *inputs: ir.Value, **attributes: Any
    ) -> ir.Value:
        self._made += 1
        name = f"layout/{kind}_{self._made}"
        node = ir.Node(
            "",
            kind,
            inputs,
            attributes=ir.convenience.convert_attributes(attributes),
            outputs=[ir.Value(name=name)],
            name=name,
        )
        nodes.append(node)
        return node.outputs[0]

    def _constant(self, value: Any) -> ir.Value:
        self._made += 1
        array = np.asarray(value, np.int64)
        tensor = ir.Tensor(array, name=f"layout/constant_{self._made}")
        constant = ir.Value(
            name=tensor.name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(INT64),
            const_value=tensor,
        )
        self.graph.register_initializer(constant)
        return constant

    def _replace(self, name: str, nodes: list[ir.Node], value: ir.Value) -> None:
        """What read the input `name` reads `value`, which those nodes make in front of all."""
        old = self.input(name)
        self.graph.inputs.remove(old)
        old.replace_all_uses_with(value)
        producer = value.producer()
        if not nodes and producer is not None:
            nodes = [producer]
        self.graph.insert_before(self.graph[0], nodes)
