"""The weights of an export, as its graphs hold them.

They are read from the graphs and from the files beside them, not made anew from the checkpoint:
what is wrong in a file shows here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.precision.block_storage import CODES, SCALES, ZEROS
from triptych.export.precision.blocks import BITS_PER_BYTE, BlockFormat, Blocks

Read = Callable[[], Array]

# What a GraphBuilder calls numbers that are no weights.
CONSTANT = "constant_"

# Where the operators that know blocks have the codes, the scales and the zeros among their inputs.
BLOCK_INPUTS: Mapping[str, tuple[int, int, int]] = {
    "MatMulNBits": (1, 2, 3),
    "GatherBlockQuantized": (0, 2, 3),
}


class StoredError(TriptychError):
    """A graph that does not hold its weights as an export does."""


def stored_weights(folder: Path) -> dict[str, Read]:
    """What the graphs in a folder compute with, by the names that the tensors have in a checkpoint.

    Each is read when it is called, as float32 and as the checkpoint has it: [out, in] for matrices
    that a graph stores transposed, dequantized where it stores blocks. A shape that the graphs
    have no use for is gone: a convolution's kernel is [out, values]. Tensors that no graph holds
    are absent. Raises StoredError when one is read that is not as an export has it.
    """
    found: dict[str, Read] = {}
    for path in sorted(folder.glob("*.onnx")):
        for name, read in graph_weights(ir.load(path).graph).items():
            found.setdefault(name, read)
    return found


def graph_weights(graph: ir.Graph) -> dict[str, Read]:
    """The same for one graph, which may have a table that another one has, too."""
    return {
        name.removesuffix(CODES): _blocks(value) if name.endswith(CODES) else _float(value)
        for name, value in graph.initializers.items()
        if not name.startswith(CONSTANT) and not name.endswith((SCALES, ZEROS))
    }


def _float(value: ir.Value) -> Read:
    transposed = any(node.op_type == "MatMul" and index == 1 for node, index in _readers(value))
    return partial(_values, value, transposed=transposed)


def _readers(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """The nodes that read a weight, perhaps through a cast, and which of their inputs it is."""
    for node, index in value.uses():
        if node.op_type == "Cast":
            yield from _readers(node.outputs[0])
        else:
            yield node, index


def _values(value: ir.Value, *, transposed: bool = False) -> Array:
    values = _array(value).astype(np.float32)
    return np.ascontiguousarray(values.T) if transposed else values


def _blocks(value: ir.Value) -> Read:
    node, _ = next(iter(value.uses()))
    places = BLOCK_INPUTS[node.op_type]
    inputs = [node.inputs[place] if place < len(node.inputs) else None for place in places]
    return partial(_dequantized, node, *inputs)


def _dequantized(
    node: ir.Node, codes: ir.Value | None, scales: ir.Value | None, zeros: ir.Value | None
) -> Array:
    form = BlockFormat(
        node.attributes["bits"].as_int(),
        node.attributes["block_size"].as_int(),
        symmetric=zeros is None,
    )
    packed = _array(codes)
    columns = _columns(node) or packed[0].size * BITS_PER_BYTE // form.bits
    stored = None if zeros is None else _array(zeros)
    return Blocks.unpacked(form, columns, packed, _array(scales), stored).dequantized()


def _columns(node: ir.Node) -> int | None:
    """How many values a row has, where that is less than its blocks hold."""
    if node.op_type == "MatMulNBits":
        return node.attributes["K"].as_int()
    slices = [after for after, _ in node.outputs[0].uses() if after.op_type == "Slice"]
    return int(_array(slices[0].inputs[2]).item()) if slices else None


def _array(value: ir.Value | None) -> Array:
    if value is None or value.const_value is None:
        raise StoredError(f"{value}: a weight has no values. Is the export complete?")
    return value.const_value.numpy()
