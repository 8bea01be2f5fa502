"""ONNX files that declare ports and compute nothing: all that the wiring check reads."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

FLOAT, HALF, INT = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
PIXELS = ("pixel_values", FLOAT, ["patches", 1536])
GRID = ("image_grid_thw", INT, ["images", 3])
FEATURES = ("image_features", FLOAT, ["N", 8])
EMBEDS = ("inputs_embeds", FLOAT, ["B", "S", 8])


def write_graph(path: Path, inputs, outputs) -> None:
    """A graph without nodes; a port is (name, type, dimensions)."""
    graph = helper.make_graph(
        [],
        path.stem,
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
    )
    onnx.save(helper.make_model(graph), path)


def write_qwen3_vl(folder: Path) -> None:
    """The three graphs of the contract, for a model of H = 8 with one layer."""
    past = ["B", 1, "max_len", 4]
    write_graph(
        folder / "vision_encoder.onnx",
        [PIXELS, GRID],
        [FEATURES, ("deepstack_features", FLOAT, [1, "N", 8])],
    )
    write_graph(folder / "embeddings.onnx", [("input_ids", INT, ["B", "S"])], [EMBEDS])
    write_graph(folder / "decoder.onnx", decoder_inputs(EMBEDS), _outputs(past))


def decoder_inputs(embeds):
    """The decoder's inputs, with another `inputs_embeds`."""
    past = ["B", 1, "max_len", 4]
    return [
        embeds,
        ("attention_mask", INT, ["B", "total"]),
        ("position_ids", INT, [3, "B", "S"]),
        ("deepstack_embeds", FLOAT, [1, "B", "S", 8]),
        ("logit_index", INT, ["B", "R"]),
        ("past_key_values.0.key", FLOAT, past),
        ("past_key_values.0.value", FLOAT, past),
    ]


def write_odd_ones(folder: Path) -> None:
    """Graphs that do not fit: each is the subject of a wrong pipeline file."""
    past = ["B", 1, "max_len", 4]
    scores = [("scores", FLOAT, ["N"])]
    write_graph(folder / "scores.onnx", [FEATURES], scores)
    write_graph(folder / "saliency.onnx", [("saliency_map", FLOAT, ["N"])], scores)
    write_graph(folder / "blur.onnx", [("x", FLOAT, ["patches", 1536])], [PIXELS])
    write_graph(
        folder / "narrow.onnx",
        [("input_ids", INT, ["B", "S"])],
        [("inputs_embeds", FLOAT, ["B", "S", 4])],
    )
    half = decoder_inputs(("inputs_embeds", HALF, ["B", "S", 8]))
    write_graph(folder / "half.onnx", half, _outputs(past))


def _outputs(past):
    return [
        ("logits", FLOAT, ["B", "R", 16]),
        ("present.0.key", FLOAT, past),
        ("present.0.value", FLOAT, past),
    ]
