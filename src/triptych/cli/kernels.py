"""Operators of a pipeline's graphs that run on the CPU even where a GPU is asked for.

After docs/OperatorKernels.md of ONNX Runtime, for what our exports are made of; an operator that is
not in these tables may lack a kernel, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from triptych.bench.onnx_file import Node, read_onnx

if TYPE_CHECKING:
    from triptych.core.assembly.assembly import Assembly

GPUS = frozenset({"cuda", "CUDAExecutionProvider"})

WITHOUT = frozenset({"MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLinear"})
"""Without a kernel for CUDA."""
HALVES = frozenset({"GroupQueryAttention", "QMoE"})
"""With one for float16 and bfloat16 alone."""
HALF_TYPES = frozenset({"float16", "bfloat16"})
HALF_NUMBERS = frozenset({10, 16})
"""The same, by onnx.TensorProto.DataType."""


def on_cpu(assembly: Assembly) -> Iterator[str]:
    """One line for each stage that asks for CUDA and has operators without a kernel for it."""
    if GPUS.isdisjoint(assembly.spec.session.providers):
        return
    for wired in assembly.wiring.stages:
        graph = getattr(wired.stage, "graph", None)
        if graph is None:
            continue
        halves = any(
            port.dtype in HALF_TYPES and not port.name.startswith("past") for port in graph.inputs
        )
        nodes = list(_all(read_onnx(graph.path).nodes))
        cast = {
            name
            for node in nodes
            if node.op == "Cast" and node.integers.get("to") in HALF_NUMBERS
            for name in node.outputs
        }
        named = sorted({node.op for node in nodes} & WITHOUT)
        if not halves:
            floats = {node.op for node in nodes if cast.isdisjoint(node.inputs)} & HALVES
            named += [f"{name} (in float32)" for name in sorted(floats)]
        if named:
            yield (
                f"{wired.label}: CUDA has no kernel for {', '.join(named)}, so that runs on the "
                "CPU, with a copy each way"
            )


def _all(nodes: Iterable[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        for branch in node.branches:
            yield from _all(branch)
