"""One operator, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.helper as make
import onnx.numpy_helper
import onnxruntime

from triptych.core.graphs.session import session_options
from triptych.core.stages import Runtime

Array = np.ndarray[Any, Any]


def run(
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Array],
    weights: Sequence[onnx.TensorProto],
) -> Array:
    """What the nodes make of `feeds` and `weights`; their last output is `y`."""
    inputs = [
        make.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feeds.items()
    ]
    output = make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = make.make_graph(list(nodes), "g", inputs, [output], list(weights))
    domains = [make.make_opsetid("", 21), make.make_opsetid("com.microsoft", 1)]
    model = make.make_model(graph, opset_imports=domains, ir_version=10)
    return run_model(model, feeds)


def run_model(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Array:
    """The first output of a model, as a session of Triptych's computes it."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(),
        session_options(Runtime()),
        providers=["CPUExecutionProvider"],
    )
    return session.run(None, dict(feeds))[0]
