"""Experts stored as blocks of small integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnx_ir as ir

from triptych.core.errors import TriptychError
from triptych.core.ports import Array
from triptych.export.builder import FLOAT, GraphBuilder
from triptych.export.checkpoint import Weight
from triptych.export.experts import Experts, Stack
from triptych.export.precision.block_storage import CODES, SCALES, UINT8, ZEROS, arrays
from triptych.export.precision.blocks import BlockFormat
from triptych.export.precision.routed import routed
from triptych.export.precision.sources import BlockSource
from triptych.export.tensors import Form


class ExpertsError(TriptychError):
    """Experts that cannot be stored in the way that was asked for."""


def block_experts(
    graph: GraphBuilder,
    x: ir.Value,
    scores: ir.Value,
    experts: Experts,
    blocked: Callable[[Weight], BlockSource],
    form: BlockFormat,
    level: int,
) -> ir.Value:
    """A QMoE; see `Storage.experts`.

    blocked: gives the blocks of one matrix, all of them in `form`. level: the accuracy level; for
    8 bits, ONNX Runtime rounds activations to int8 at every level.
    Raises ExpertsError for sizes that are no multiples of the block.
    """
    count, hidden, inner = experts.down.shape
    if hidden % form.size or inner % form.size:
        raise ExpertsError(
            f"{experts.gate_up.name}: experts of {hidden} x {inner} values do not divide into "
            f"blocks of {form.size}, which QMoE asks for. Choose another block, or store them as "
            f"floats, in a recipe with '*.mlp.experts.*': fp16 under weights."
        )
    codes, scales, zeros = _stored(graph, experts.gate_up, blocked, form)
    down_codes, down_scales, down_zeros = _stored(graph, experts.down, blocked, form)
    # A gap is an input that is left out: a bias, or the third matrix of other models.
    weights = [codes, scales, None, down_codes, down_scales, None]
    if not form.symmetric:
        weights += [None, None, None, zeros, down_zeros]
    return routed(
        graph,
        "QMoE",
        x,
        scores,
        *weights,
        experts=count,
        chosen=experts.chosen,
        expert_weight_bits=form.bits,
        block_size=form.size,
        accuracy_level=level,
        weights_prepacked=0,
    )


def _stored(
    graph: GraphBuilder,
    stack: Stack,
    blocked: Callable[[Weight], BlockSource],
    form: BlockFormat,
) -> Sequence[ir.Value | None]:
    """The codes, scales and zeros of all experts; no more than one of them is read at a time."""
    count, rows, columns = stack.shape
    blocks = form.blocks(columns)
    forms = [
        Form(stack.name + CODES, (count, rows, blocks * form.block_bytes()), UINT8),
        Form(stack.name + SCALES, (count, rows, blocks), FLOAT),
    ]
    if not form.symmetric:
        forms.append(Form(stack.name + ZEROS, (count, rows, form.zero_bytes(columns)), UINT8))

    def pieces() -> Iterator[Sequence[Array]]:
        for matrix in stack.matrices:
            yield from map(arrays, blocked(matrix).pieces())

    return [*graph.bundle(forms, pieces), None][:3]
