"""Exports in the layouts of other tools: the folders, and what Triptych itself makes of them.

What those tools make of them is in tests/external.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession

import triptych
from tests.export.qwen2_vl.checkpoints import VL_SHAPES, vl_checkpoint
from tests.export.text_checkpoints import TEXT_SHAPES, text_checkpoint
from triptych import Request
from triptych.cli import export
from triptych.core.graphs.header import read_header
from triptych.core.graphs.session import session_options
from triptych.core.prompt import Prompt
from triptych.core.stages import Runtime
from triptych.export import export_checkpoint, graph_files
from triptych.export.layouts import LAYOUTS, LayoutError

SCENE = Path(__file__).parents[3] / "examples" / "images" / "scene.png"
PROMPT = [5, 17, 33, 8, 60, 2, 41]
GRAPHS = {"genai": "model.onnx", "onnx-community": "onnx/model.onnx"}


def said(folder, **overrides):
    pipe = triptych.load(folder, overrides=overrides)
    sampling = {"no_sample": True, "max_new_tokens": 24}
    return list(pipe.begin(Prompt(np.array(PROMPT)), sampling).reply.tokens)


def logits(graph, feeds):
    """Those that a graph gives in ONNX Runtime."""
    options = session_options(Runtime())
    session = InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], feeds)[0]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A checkpoint by the name of its shape, and a place for its exports."""
    root = tmp_path_factory.mktemp("text")

    def made(name):
        folder = root / name.replace(", ", "_")
        return folder if folder.exists() else text_checkpoint(folder, TEXT_SHAPES[name])

    return made


@pytest.mark.parametrize("layout", GRAPHS)
@pytest.mark.parametrize("name", ["qwen3, biased, a window", "qwen2, tied", "llama, untied"])
def test_the_folder_says_what_a_pipeline_says(text, tmp_path, name, layout):
    own = export_checkpoint(text(name), tmp_path / "own")
    other = export_checkpoint(text(name), tmp_path / "other", layout=layout)
    assert not (other / "pipeline.yaml").exists()
    assert said(other) == said(own)
    assert said(other, **{"session.chunk": 3}) == said(own)


@pytest.mark.parametrize("layout", GRAPHS)
@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_in_every_precision(text, tmp_path, layout, precision):
    checkpoint = text("qwen3, tied")
    own = export_checkpoint(checkpoint, tmp_path / "own", precision=precision, kv_cache="fp32")
    other = export_checkpoint(checkpoint, tmp_path / "other", precision=precision, layout=layout)
    assert said(other) == said(own)


def test_genai_has_one_graph_from_ids_to_the_scores_of_all_tokens(text, tmp_path):
    out = export_checkpoint(text("qwen3, tied"), tmp_path / "out", layout="genai")
    header = read_header(out / "model.onnx")
    assert [str(port) for port in header.inputs][:5] == [
        "input_ids int64 [batch_size, sequence_length]",
        "attention_mask int64 [batch_size, total_sequence_length]",
        "position_ids int64 [batch_size, sequence_length]",
        "past_key_values.0.key float32 [batch_size, 2, past_sequence_length, 128]",
        "past_key_values.0.value float32 [batch_size, 2, past_sequence_length, 128]",
    ]
    assert str(header.outputs[0]) == "logits float32 [batch_size, sequence_length, 263]"
    config = json.loads((out / "genai_config.json").read_text())
    assert config["model"]["type"] == "qwen3"
    assert config["model"]["eos_token_id"] == 262
    decoder = config["model"]["decoder"]
    sizes = ("head_size", "hidden_size", "num_key_value_heads", "num_hidden_layers")
    assert [decoder[name] for name in sizes] == [128, 48, 2, 3]
    assert config["search"]["past_present_share_buffer"] is True


def test_transformers_js_is_told_where_the_weights_are(text, tmp_path, monkeypatch):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", 0)
    checkpoint = text("qwen3, tied")
    one = export_checkpoint(checkpoint, tmp_path / "one", layout="onnx-community", precision="int4")
    names = {path.name for path in (one / "onnx").iterdir()}
    assert names == {"model_q4.onnx", "model_q4.onnx_data"}
    config = json.loads((one / "config.json").read_text())
    assert config["transformers.js_config"] == {
        "dtype": "q4",
        "use_external_data_format": {"model_q4.onnx": 1},
    }
    assert config["model_type"] == "qwen3"
    several = export_checkpoint(
        checkpoint, tmp_path / "several", layout="onnx-community", max_file_size=200_000
    )
    count = len(list((several / "onnx").glob("model.onnx_data*")))
    config = json.loads((several / "config.json").read_text())
    assert count > 1
    assert config["transformers.js_config"]["use_external_data_format"] == {"model.onnx": count}
    assert said(several) == said(export_checkpoint(checkpoint, tmp_path / "own"))


@pytest.mark.parametrize("layout", GRAPHS)
def test_the_chat_template_is_also_where_older_tools_look(text, tmp_path, layout):
    out = export_checkpoint(text("qwen3, tied"), tmp_path / "out", layout=layout)
    config = json.loads((out / "tokenizer_config.json").read_text())
    assert config["chat_template"] == (out / "chat_template.jinja").read_text()
    assert config["eos_token"] == "<|im_end|>"


def test_a_table_that_is_also_the_head_is_stored_once_in_a_graph(text, tmp_path, monkeypatch):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", 0)
    monkeypatch.setattr(graph_files, "EXTERNAL_BYTES", 0)
    sizes = [
        (export_checkpoint(text("qwen3, tied"), tmp_path / layout, layout=layout) / data)
        .stat()
        .st_size
        for layout, data in (
            ("genai", "model.onnx.data"),
            ("onnx-community", "onnx/model.onnx_data"),
        )
    ]
    weights = (text("qwen3, tied") / "model.safetensors").stat().st_size
    assert sizes[0] == sizes[1] <= weights


def test_no_two_graphs_of_transformers_js_share_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", 0)
    checkpoint = vl_checkpoint(tmp_path / "checkpoint", VL_SHAPES["Qwen2-VL, tied"])
    out = export_checkpoint(checkpoint, tmp_path / "out", layout="onnx-community")
    graphs = ("decoder_model_merged", "embed_tokens", "vision_encoder")
    files = [f"{graph}.onnx{data}" for graph in graphs for data in ("", "_data")]
    assert sorted(path.name for path in (out / "onnx").iterdir()) == files


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_transformers_js_gets_the_last_logits_that_it_asks_for(text, tmp_path, keep):
    checkpoint = text("qwen3, tied")
    whole = export_checkpoint(checkpoint, tmp_path / "whole", layout="genai") / "model.onnx"
    out = export_checkpoint(checkpoint, tmp_path / "out", layout="onnx-community")
    feeds = {
        "input_ids": np.array([PROMPT, PROMPT[::-1]]),
        "attention_mask": np.ones((2, len(PROMPT)), np.int64),
        "position_ids": np.tile(np.arange(len(PROMPT)), (2, 1)),
    }
    for port in read_header(whole).inputs:
        if port.name.startswith("past"):
            feeds[port.name] = np.zeros((2, 2, 0, 128), np.float32)
    expected = logits(whole, feeds)
    feeds["num_logits_to_keep"] = np.array(keep)
    found = logits(out / "onnx" / "model.onnx", feeds)
    assert expected.shape == (2, len(PROMPT), 263)
    np.testing.assert_allclose(found, expected[:, -keep:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["Qwen2-VL, tied", "Qwen2.5-VL, tied"])
def test_a_model_that_sees_is_three_graphs(tmp_path, name):
    checkpoint = vl_checkpoint(tmp_path / "checkpoint", VL_SHAPES[name])
    own = export_checkpoint(checkpoint, tmp_path / "own")
    other = export_checkpoint(checkpoint, tmp_path / "other", layout="onnx-community")
    grid = "grid_thw" if name.startswith("Qwen2-VL") else "image_grid_thw"
    vision = read_header(other / "onnx" / "vision_encoder.onnx")
    assert [port.name for port in vision.inputs] == ["pixel_values", grid]
    request = Request("What is this?", images=[SCENE])
    tokens = [
        triptych.load(folder).generate(request, no_sample=True, max_new_tokens=16).tokens
        for folder in (own, other)
    ]
    assert tokens[0] == tokens[1]


def test_deepstack_is_left_out_only_where_a_person_says_so(tiny_checkpoint, tmp_path):
    with pytest.raises(LayoutError, match=r"no place for DeepStack.*--drop-deepstack"):
        export_checkpoint(tiny_checkpoint, tmp_path / "out", layout="onnx-community")
    out = export_checkpoint(
        tiny_checkpoint, tmp_path / "out", layout="onnx-community", drop_deepstack=True
    )
    with pytest.warns(UserWarning, match="leaves DeepStack out"):
        pipe = triptych.load(out)
    assert pipe.generate("Hello", no_sample=True, max_new_tokens=8).tokens == (
        triptych.load(export_checkpoint(tiny_checkpoint, tmp_path / "own"))
        .generate("Hello", no_sample=True, max_new_tokens=8)
        .tokens
    )


def test_what_a_layout_cannot_hold_is_refused(tiny_checkpoint, text, tmp_path):
    with pytest.raises(LayoutError, match="'genai' is written for text models"):
        export_checkpoint(tiny_checkpoint, tmp_path / "out", layout="genai")
    with pytest.raises(LayoutError, match=r"no layout 'gen-ai'.*Did you mean 'genai'"):
        export_checkpoint(text("qwen3, tied"), tmp_path / "out", layout="gen-ai")
    with pytest.raises(LayoutError, match="has a place for DeepStack"):
        export_checkpoint(tiny_checkpoint, tmp_path / "out", drop_deepstack=True)
    with pytest.raises(LayoutError, match="a cache of fp32, not int8"):
        export_checkpoint(text("qwen3, tied"), tmp_path / "out", layout="genai", kv_cache="int8")
    assert not (tmp_path / "out").exists()


def test_the_command_line_knows_every_layout():
    assert export.LAYOUTS == LAYOUTS
