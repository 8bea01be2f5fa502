"""Any graph is a stage: on input, on each span, with its names corrected."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import triptych
from tests import fakes
from tests.fakes import PATCH, FakePipeline
from triptych import ConfigError
from triptych.plugins.onnx import manifest

IMAGES = [(4, 4, 1), (2, 6, 2)]
DOUBLE = TensorProto.DOUBLE


def save(path, nodes, inputs, outputs, weights=()):
    """A graph with inputs and outputs of (dtype, shape) by name."""
    named = [
        [helper.make_tensor_value_info(name, *port) for name, port in ports.items()]
        for ports in (inputs, outputs)
    ]
    made = helper.make_graph(nodes, "g", *named, list(weights))
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=10), path)


def scale(path, factor, shape, kind=TensorProto.FLOAT):
    """y = factor * x."""
    weight = helper.make_tensor("factor", kind, [], [factor])
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    save(path, [node], {"x": (kind, shape)}, {"y": (kind, shape)}, [weight])


@pytest.fixture
def load(tmp_path):
    """Loads the fakes with one item more, at a place such as ``after merge``."""

    def load(place, onnx, ports):
        return triptych.load(
            fakes.pipeline_file(tmp_path),
            plugins=[fakes.__file__],
            insert={place: {"onnx": onnx, "ports": ports}},
        )

    return load


def plain_port(port, text, images=()):
    """What is in a port without the graph."""
    pipeline = FakePipeline()
    return pipeline.executor.probe(pipeline.prompt(text, images), port)[port]


def test_a_graph_on_input_changes_what_the_next_stage_reads(load, tmp_path):
    scale(tmp_path / "dim.onnx", 0.5, ("patches", PATCH))
    pipe = load(
        "before local/vision",
        {"graph": "dim.onnx", "when": "input"},
        {"x": "pixel_values", "y": {"port": "pixel_values", "axes": ["patches", PATCH]}},
    )
    pixels = pipe.run_until("pixel_values", "1", images=IMAGES)
    np.testing.assert_array_equal(pixels, plain_port("pixel_values", "1", IMAGES) / 2)
    features = pipe.run_until("image_features", "1", images=IMAGES)
    assert np.abs(features - plain_port("image_features", "1", IMAGES)).max() > 0.01
    pipe.generate("2", images=IMAGES)
    vision = pipe._executor.wiring.input[1]
    assert (vision.label, vision.stage.runs) == ("local/vision", [2]), "once for each image"


def test_a_graph_on_spans_changes_each_slice(load, tmp_path):
    scale(tmp_path / "louder.onnx", 2.0, ("B", "S", "hidden"), DOUBLE)
    pipe = load(
        "after merge",
        {"graph": "louder.onnx", "when": "span"},
        {"x": "inputs_embeds", "y": "inputs_embeds"},
    )
    louder = pipe.run_until("inputs_embeds", "1 2", images=IMAGES)
    np.testing.assert_array_equal(louder, 2 * plain_port("inputs_embeds", "1 2", IMAGES))
    assert len(pipe.generate("1 2 3", images=IMAGES).tokens) == 12


def test_a_port_that_is_not_there_may_be_zeros(load, tmp_path):
    shapes = {"x": (DOUBLE, ("B", "S", "H")), "by": (DOUBLE, ("B", "S", 1))}
    node = helper.make_node("Add", ["x", "by"], ["y"])
    save(tmp_path / "shift.onnx", [node], shapes, {"y": shapes["x"]})
    names = {"x": "inputs_embeds", "y": "inputs_embeds"}
    onnx = {"graph": "shift.onnx", "when": "span"}
    pipe = load("after merge", onnx, {**names, "by": {"port": "offset", "absent": "zeros"}})
    np.testing.assert_array_equal(
        pipe.run_until("inputs_embeds", "1 2"), plain_port("inputs_embeds", "1 2")
    )
    with pytest.raises(ConfigError, match="reads 'offset', which nobody writes"):
        load("after merge", onnx, {**names, "by": "offset"})


def test_a_graph_whose_axes_do_not_fit_is_refused_before_it_is_loaded(load, tmp_path):
    scale(tmp_path / "dim.onnx", 0.5, ("patches", 99))
    with pytest.raises(ConfigError) as error:
        load(
            "before local/vision",
            {"graph": "dim.onnx", "when": "input"},
            {"x": "pixel_values", "y": "pixel_values"},
        )
    assert (
        "stages.onnx: reads 'pixel_values' with axes [patches, 99], but the processor writes it "
        "with [patches, 4]"
    ) in str(error.value)


@pytest.mark.parametrize("onnx", ["dim.onnx", {"graph": "dim.onnx", "when": "sometimes"}])
def test_when_it_runs_must_be_said(load, tmp_path, onnx):
    scale(tmp_path / "dim.onnx", 0.5, ("patches", PATCH))
    with pytest.raises(ConfigError, match=r"onnx\.when"):
        load("before local/vision", onnx, {})


def test_the_manifest_lists_what_can_be_built():
    [component] = manifest.stages()
    module, _, name = component.target.partition(":")
    kind = getattr(__import__(module, fromlist=[name]), name)
    assert component.main in kind.Settings.model_fields
