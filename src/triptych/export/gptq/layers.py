"""A decoder's graph, cut into its layers: each is a graph of its own and runs by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, cast

import onnx_ir as ir

from triptych.core.graphs.session import session_options
from triptych.core.ports import Array
from triptych.core.stages import Runtime
from triptych.export.builder import IR_VERSION
from triptych.export.graph_files import GraphFiles

if TYPE_CHECKING:
    import onnxruntime

# The scope of a layer's nodes begins so; what is in no such scope lies before or after all layers.
SCOPE = "layers."
FILE = "layer.onnx"


@dataclass(frozen=True, eq=False)
class Layer:
    """Nodes of a decoder that follow one another: a layer, or what comes before all layers.

    reads: what its nodes need and do not make; weights: likewise, but stored in the graph.
    makes: what later layers need of it.
    """

    nodes: Sequence[ir.Node]
    reads: Sequence[ir.Value]
    weights: Sequence[ir.Value]
    makes: Sequence[ir.Value]

    def session(
        self, folder: Path, likes: Mapping[str, Array], wanted: Sequence[ir.Value]
    ) -> onnxruntime.InferenceSession:
        """Writes it to the folder and loads it; its outputs are `wanted`.

        likes: an example of each value that it reads, by name. The graph loses the layer's weights.
        """
        for value in self.reads:
            like = likes[_name(value)]
            value.dtype = ir.DataType.from_numpy(like.dtype)
            value.shape = ir.Shape([None] * like.ndim)
        graph = self.nodes[0].graph
        view = ir.GraphView(
            self.reads,
            wanted,
            nodes=self.nodes,
            initializers=self.weights,
            opset_imports=dict(graph.opset_imports) if graph is not None else None,
            name="layer",
        )
        model = ir.Model(cast("ir.Graph", view), ir_version=IR_VERSION)
        GraphFiles({FILE: model}).write(folder)
        # Exports without calibration run nothing.
        import onnxruntime

        return onnxruntime.InferenceSession(
            str(folder / FILE), session_options(Runtime()), providers=["CPUExecutionProvider"]
        )


def layers(decoder: ir.Model) -> Iterator[Layer]:
    """What is before the layers, then each of them; what comes after the last is left out."""
    graph = decoder.graph
    groups = [(key, list(nodes)) for key, nodes in groupby(graph, _layer)]
    last = max(index for index, (key, _) in enumerate(groups) if key)
    groups = groups[: last + 1]
    kept = {node for _, nodes in groups for node in nodes}
    for _, nodes in groups:
        own = set(nodes)
        made = {value for node in nodes for value in node.outputs}
        needed = list(
            dict.fromkeys(
                value
                for node in nodes
                for value in node.inputs
                if value is not None and value not in made
            )
        )
        stored = set(graph.initializers.values())
        yield Layer(
            nodes,
            [value for value in needed if value not in stored],
            [value for value in needed if value in stored],
            [
                value
                for node in nodes
                for value in node.outputs
                if any(user in kept and user not in own for user in value.consumers())
            ],
        )


def _layer(node: ir.Node) -> str:
    """Which layer a node is of, or nothing."""
    scope = (node.name or "").split("/")[0]
    return scope if scope.startswith(SCOPE) else ""


def _name(value: ir.Value) -> str:
    return value.name or ""
