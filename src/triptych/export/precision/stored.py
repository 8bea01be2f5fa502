"""The weights of an export, as its graphs hold them.

They are read from the graphs and from the files beside them, not made anew from the checkpoint:
what is wrong in a file shows here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.precision.block_storage import CODES, SCALES, ZEROS
from triptych.export.precision.blocks import BITS_PER_BYTE, BlockFormat, Blocks
from triptych.export.precision.joined_blocks import JOIN, joined_rows
from triptych.export.precision.row_storage import OPERATOR as ROWS
from triptych.export.precision.spreading import gathered

Read = Callable[[], Array]

PROMPT = ".prompt"
"""Ends the name of a weight that a graph holds once more, for prompts: see `export.prompts`."""

# What a GraphBuilder calls numbers that are no weights.
CONSTANT = "constant_"

# Where the operators that know blocks have the codes, the scales and the zeros among their inputs.
BLOCK_INPUTS: Mapping[str, tuple[int, int, int]] = {
    "MatMulNBits": (1, 2, 3),
    "GatherBlockQuantized": (0, 2, 3),
}
# The same of the operator that holds experts, for its first and for its second matrix.
EXPERT_INPUTS: Mapping[int, tuple[int, int, int]] = {2: (2, 3, 11), 5: (5, 6, 12)}
# Experts, rows, columns.
STACK_AXES = 3
# Which input of the operators of experts has rows of gate and up in turn.
IN_TURN = 2


class StoredError(TriptychError):
    """A graph that does not hold its weights as an export does."""


def stored_weights(folder: Path) -> dict[str, Read]:
    """What the graphs in a folder compute with, by the names that the tensors have in a checkpoint.

    Each is read when it is called, as float32 and as the checkpoint has it: [out, in] for matrices
    that a graph stores transposed, dequantized where it stores blocks. A shape that the graphs
    have no use for is gone: a convolution's kernel is [out, values]. Experts are
    [experts, out, in] with the gate above up; see `fitted`. Tensors that no graph holds are absent.
    Raises StoredError when one is read that is not as an export has it.
    """
    found: dict[str, Read] = {}
    for path in sorted(folder.glob("*.onnx")):
        for name, read in graph_weights(ir.load(path).graph).items():
            found.setdefault(name, read)
    return found


def graph_weights(graph: ir.Graph) -> dict[str, Read]:
    """The same for one graph, which may have a table that another one has, too."""
    found: dict[str, Read] = {}
    for name, value in graph.initializers.items():
        if name.startswith(CONSTANT) or name.endswith((SCALES, ZEROS, PROMPT + CODES)):
            continue
        if not name.endswith(CODES):
            found[name] = _float(value)
            continue
        for one, rows in joined_rows(name, value).items():
            found[one] = _blocks(value, rows)
    return found


def prompt_weights(graph: ir.Graph) -> dict[tuple[str, ...], Read]:
    """What a graph computes prompts with, where it holds that besides.

    By the names of the weights that lie there under one another.
    """
    return {
        tuple(name.removesuffix(PROMPT + CODES).split(JOIN)): _blocks(value, slice(None))
        for name, value in graph.initializers.items()
        if name.endswith(PROMPT + CODES)
    }


def product_values(node: ir.Node, rows: slice) -> Array:
    """What some rows of the blocks of a MatMulNBits stand for, f32 [n, K]."""
    return _dequantized(node, *_inputs(node, BLOCK_INPUTS[node.op_type]), rows=rows)


def codes_of(graph: ir.Graph, name: str) -> ir.Value | None:
    """The codes of a weight, perhaps with those of others; None of one that has none."""
    if name + CODES in graph.initializers:
        return graph.initializers[name + CODES]
    joined = (
        value
        for key, value in graph.initializers.items()
        if JOIN in key and not key.endswith(PROMPT + CODES)
    )
    return next((value for value in joined if _among(name, value.name or "")), None)


def _among(name: str, joined: str) -> bool:
    return joined.endswith(CODES) and name in joined.removesuffix(CODES).split(JOIN)


def fitted(values: Array, shape: tuple[int, ...]) -> Array:
    """What `stored_weights` gives, in the shape that the checkpoint's tensor has.

    Experts may lie there as their transposes.
    """
    if values.ndim == STACK_AXES and values.shape != shape and values.swapaxes(1, 2).shape == shape:
        return values.swapaxes(1, 2)
    return values.reshape(shape)


def _float(value: ir.Value) -> Read:
    readers = [(node.op_type, index) for node, index in _readers(value)]
    if ("MoE", IN_TURN) in readers:
        return lambda: _apart(_values(value))
    return partial(_values, value, transposed=("MatMul", 1) in readers)


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


def _blocks(value: ir.Value, rows: slice) -> Read:
    node, index = next(iter(value.uses()))
    if node.op_type == ROWS:
        return partial(_row_values, value, node.inputs[3])
    if node.op_type == "QMoE":
        stacked = partial(_stack, node, *_inputs(node, EXPERT_INPUTS[index]))
        return (lambda: _apart(stacked())) if index == IN_TURN else stacked
    return partial(_dequantized, node, *_inputs(node, BLOCK_INPUTS[node.op_type]), rows=rows)


def _row_values(codes: ir.Value, scales: ir.Value | None) -> Array:
    values = _array(codes).T.astype(np.float32)
    values *= _array(scales)[:, None]
    return gathered(np.ascontiguousarray(values))


def _inputs(node: ir.Node, places: Sequence[int]) -> list[ir.Value | None]:
    return [node.inputs[place] if place < len(node.inputs) else None for place in places]


def _dequantized(
    node: ir.Node,
    codes: ir.Value | None,
    scales: ir.Value | None,
    zeros: ir.Value | None,
    *,
    rows: slice,
) -> Array:
    form = _form(node, "bits", zeros)
    packed = _array(codes)
    columns = _columns(node) or packed[0].size * BITS_PER_BYTE // form.bits
    factors, stored = (
        None if value is None else _array(value).reshape(len(packed), -1)[rows]
        for value in (scales, zeros)
    )
    if factors is None:
        raise StoredError(f"{codes}: codes without scales. Is the export complete?")
    return Blocks.unpacked(form, columns, packed[rows], factors, stored).dequantized()


def _stack(
    node: ir.Node, codes: ir.Value | None, scales: ir.Value | None, zeros: ir.Value | None
) -> Array:
    """The matrices of all experts, f32 [experts, out, in]."""
    form = _form(node, "expert_weight_bits", zeros)
    packed = _array(codes)
    experts, rows, size = packed.shape
    columns = size * BITS_PER_BYTE // form.bits
    stored = None if zeros is None else _array(zeros)
    flat = packed.reshape(experts * rows, size)
    values = Blocks.unpacked(form, columns, flat, _array(scales), stored).dequantized()
    return values.reshape(experts, rows, columns)


def _apart(stack: Array) -> Array:
    """Experts [experts, 2 * inner, hidden], all rows of the gate first instead of in turn."""
    return np.concatenate([stack[:, 0::2], stack[:, 1::2]], axis=1)


def _form(node: ir.Node, bits: str, zeros: ir.Value | None) -> BlockFormat:
    return BlockFormat(
        node.attributes[bits].as_int(),
        node.attributes["block_size"].as_int(),
        symmetric=zeros is None,
    )


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
