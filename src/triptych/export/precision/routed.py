"""The operators that send tokens to experts, as far as they are alike.

What ONNX Runtime 1.32 has for the CPU: rows of gate and up in turn and nothing else
(`swiglu_fusion` 1), the softmax of the chosen scores with `normalize_routing_weights`, only the
chosen experts computed. Of equal scores at the edge, either may be chosen.
"""

from __future__ import annotations

import onnx_ir as ir

from triptych.export.builder import GraphBuilder


def routed(
    graph: GraphBuilder,
    operator: str,
    x: ir.Value,
    scores: ir.Value,
    *weights: ir.Value | None,
    experts: int,
    chosen: int,
    **attributes: int,
) -> ir.Value:
    """`MoE` or `QMoE` of x f32 [..., hidden] and scores f32 [..., experts]: [..., hidden]."""
    rows = graph.op("Reshape", scores, graph.constant([-1, experts]))
    return graph.microsoft(
        operator,
        x,
        rows,
        *weights,
        k=chosen,
        normalize_routing_weights=1,
        activation_type="swiglu",
        swiglu_fusion=1,
        # Plain SwiGLU: silu(gate) * up.
        activation_alpha=1.0,
        activation_beta=0.0,
        **attributes,
    )
