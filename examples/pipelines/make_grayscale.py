"""Write grayscale.onnx, a graph made by hand (needs the package `onnx`).

    python examples/pipelines/make_grayscale.py

A Qwen3-VL patch is a row of 3 channels x 2 frames x 16 x 16 values from -1 to 1. The graph gives
all three channels the luma of ITU-R BT.601, the weights that Pillow's mode "L" uses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

CHANNELS = 3
VALUES = 2 * 16 * 16
LUMA = (0.299, 0.587, 0.114)


def grayscale() -> object:
    """The model: [patches, 1536] -> [patches, 1536]."""
    weights = np.array(LUMA, np.float32).reshape(1, CHANNELS, 1)
    nodes = [
        helper.make_node("Reshape", ["patches_in", "by_channel"], ["channels"]),
        helper.make_node("Mul", ["channels", "luma"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "channel_axis"], ["gray"], keepdims=1),
        helper.make_node("Expand", ["gray", "three"], ["three_gray"]),
        helper.make_node("Reshape", ["three_gray", "flat"], ["patches_out"]),
    ]
    constants = {
        "by_channel": np.array([-1, CHANNELS, VALUES], np.int64),
        "luma": weights,
        "channel_axis": np.array([1], np.int64),
        "three": np.array([1, CHANNELS, 1], np.int64),
        "flat": np.array([-1, CHANNELS * VALUES], np.int64),
    }
    shape = ["patches", CHANNELS * VALUES]
    graph = helper.make_graph(
        nodes,
        "grayscale",
        [helper.make_tensor_value_info("patches_in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("patches_out", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    save(grayscale(), Path(__file__).with_name("grayscale.onnx"))
