"""What a run of a graph holds in memory beside its inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from triptych.core.graphs.graph import Graph
from triptych.core.graphs.session import session_options
from triptych.core.stages import Runtime

STATUS = Path("/proc/self/status")
LAYERS, VALUES = 32, 2**20
MIB = 2**20


def layered():
    """LAYERS tensors of 4 MiB, each made of the last one; of each, one number leaves the graph."""
    last, nodes = "x", []
    for layer in range(LAYERS):
        nodes += [
            helper.make_node("Relu", [last], [f"y{layer}"]),
            helper.make_node("Mul", [f"y{layer}", f"y{layer}"], [f"z{layer}"]),
            helper.make_node("ReduceMax", [f"z{layer}"], [f"out{layer}"], keepdims=0),
        ]
        last = f"y{layer}"
    one = [helper.make_tensor_value_info(f"out{n}", TensorProto.FLOAT, []) for n in range(LAYERS)]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(nodes, "layered", [given], one)
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def own_bytes():
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux to tell")
def test_a_run_holds_a_few_tensors_at_a_time_however_many_layers_there_are():
    session = onnxruntime.InferenceSession(
        layered(), session_options(Runtime()), providers=["CPUExecutionProvider"]
    )
    x = np.full(VALUES, 3, np.float32)
    before = own_bytes()
    for _ in range(2):
        assert session.run(None, {"x": x}) == [9] * LAYERS
    # As ONNX Runtime is set by itself, 280 MiB.
    assert own_bytes() - before < 8 * x.nbytes


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux to tell")
def test_what_a_prompt_took_is_given_back_by_the_step_after_it(tmp_path):
    path = tmp_path / "layered.onnx"
    path.write_bytes(layered())
    graph = Graph(path)
    graph.load(Runtime())

    def largest(values):
        return graph.run({"x": values}, ["out0"])["out0"].item() ** 0.5

    step, prompt = np.full(4, 2, np.float32), np.full(4 * VALUES, 3, np.float32)
    assert largest(step) == 2
    before = own_bytes()
    for _ in range(2):
        assert largest(prompt) == 3
        assert own_bytes() - before > prompt.nbytes / 2, "or there is nothing to give back"
        assert largest(step) == 2
        assert own_bytes() - before < prompt.nbytes / 4
