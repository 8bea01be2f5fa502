"""What an export folder holds, and from which checkpoints it can be made."""

from __future__ import annotations

import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from tests.export.checkpoints import SHAPES, random_checkpoint
from tests.export.graphs import Graphs
from tests.export.test_checkpoint import write_safetensors
from triptych.core.components.catalog import UnknownComponent
from triptych.core.graphs.header import read_header
from triptych.export import export_checkpoint, graph_files
from triptych.export.families import FamilyError
from triptych.export.precision.stored import stored_weights

UNTIED = SHAPES["untied, one kv head"]


def ports(path):
    header = read_header(path)
    return [str(port) for port in (*header.inputs, *header.outputs)]


def some_logits(folder):
    """Logits of a fixed little prompt."""
    graphs = Graphs(folder)
    ids = np.arange(7)[None]
    places = np.broadcast_to(ids, (3, 1, 7))
    return graphs.cache().forward(graphs.embed(ids), places, [7])


def test_the_graphs_declare_the_ports_of_the_contract(tmp_path):
    out = export_checkpoint(random_checkpoint(tmp_path / "checkpoint"), tmp_path / "out")
    assert ports(out / "vision_encoder.onnx") == [
        "pixel_values float32 [patches, 1536]",
        "image_grid_thw int64 [images, 3]",
        "image_features float32 [N, 64]",
        "deepstack_features float32 [2, N, 64]",
    ]
    assert ports(out / "embeddings.onnx") == [
        "input_ids int64 [B, S]",
        "inputs_embeds float32 [B, S, 64]",
    ]
    caches = [
        f"{layer}.{part} float32 [B, 2, max_len, 16]"
        for layer in range(3)
        for part in ("key", "value")
    ]
    assert ports(out / "decoder.onnx") == [
        "inputs_embeds float32 [B, S, 64]",
        "attention_mask int64 [B, total]",
        "position_ids int64 [3, B, S]",
        "deepstack_embeds float32 [2, B, S, 64]",
        "logit_index int64 [B, R]",
        *(f"past_key_values.{cache}" for cache in caches),
        "logits float32 [B, R, 96]",
        *(f"present.{cache}" for cache in caches),
    ]


# Not the decoder: ONNX Runtime has SimplifiedLayerNormalization in ONNX's own domain.
@pytest.mark.parametrize("graph", ["vision_encoder", "embeddings"])
def test_the_graphs_are_valid_onnx(pair, graph):
    model = onnx.load(pair.folder / f"{graph}.onnx")
    onnx.checker.check_model(model)


def test_pictures_are_looped_over_only_where_there_are_several(pair):
    graph = onnx.load(pair.folder / "vision_encoder.onnx", load_external_data=False).graph
    choices = [node for node in graph.node if node.op_type == "If"]
    kinds = [
        {one.name: {node.op_type for node in one.g.node} for one in choice.attribute}
        for choice in choices
    ]
    assert kinds
    for ways in kinds:
        assert "MultiHeadAttention" in ways["then_branch"]
        assert not ways["then_branch"] & {"Loop", "SequenceInsert"}
        assert "Loop" in ways["else_branch"]
    assert "Loop" not in {node.op_type for node in graph.node}


def test_a_folder_holds_the_graphs_the_pipeline_and_what_the_processor_reads(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    for name in "tokenizer.json", "chat_template.jinja", "preprocessor_config.json", "evil.py":
        (files / name).write_text(name)
    checkpoint = random_checkpoint(tmp_path / "checkpoint", processor_files=files)
    out = export_checkpoint(checkpoint, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "decoder.onnx",
        "embeddings.onnx",
        "export.json",
        "generation_config.json",
        "pipeline.yaml",
        "preprocessor_config.json",
        "shared.data",
        "tokenizer.json",
        "vision_encoder.onnx",
    ]
    assert (out / "tokenizer.json").read_text() == "tokenizer.json"


def test_large_weights_lie_beside_their_graph(tmp_path, monkeypatch):
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=UNTIED)
    expected = some_logits(export_checkpoint(checkpoint, tmp_path / "inline"))
    monkeypatch.setattr(graph_files, "INLINE_BYTES", 0)
    out = export_checkpoint(checkpoint, tmp_path / "out")
    for name in "vision_encoder", "embeddings", "decoder":
        assert read_header(out / f"{name}.onnx").external == {f"{name}.onnx.data"}
    moved = out.rename(tmp_path / "moved")
    np.testing.assert_array_equal(some_logits(moved), expected)


@pytest.mark.parametrize("inline", [0, graph_files.INLINE_BYTES])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_tied_table_is_stored_once_for_both_graphs(tmp_path, monkeypatch, inline, precision):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", inline)
    tied, size = SHAPES["tied"], {"fp32": 4, "fp16": 2}[precision]
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    out = export_checkpoint(checkpoint, tmp_path / "out", precision=precision)
    assert (out / "shared.data").stat().st_size == tied.vocabulary * tied.hidden * size
    assert read_header(out / "embeddings.onnx").external == {"shared.data"}
    assert "shared.data" in read_header(out / "decoder.onnx").external
    assert (out / "embeddings.onnx").stat().st_size < 1000
    table = load_file(checkpoint / "model.safetensors")["model.language_model.embed_tokens.weight"]
    found = Graphs(out).embed(np.arange(tied.vocabulary)[None])[0]
    expected = table.astype(np.float16) if precision == "fp16" else table
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("inline", [0, graph_files.INLINE_BYTES])
def test_what_fp16_cannot_hold_stays_fp32_in_every_graph_that_has_it(tmp_path, monkeypatch, inline):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", inline)
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    weights = load_file(checkpoint / "model.safetensors")
    table = weights["model.language_model.embed_tokens.weight"]
    table[3, 5] = -70_000.0
    down = weights["model.language_model.layers.1.mlp.down_proj.weight"]
    down[2, 1] = 1e6
    save_file(weights, checkpoint / "model.safetensors")
    out = export_checkpoint(checkpoint, tmp_path / "out", precision="fp16")
    np.testing.assert_array_equal(Graphs(out).embed(np.arange(len(table))[None])[0], table)
    stored = stored_weights(out)
    np.testing.assert_array_equal(
        stored["model.language_model.layers.1.mlp.down_proj.weight"](), down
    )
    assert np.isfinite(some_logits(out)).all()


def test_untied_tables_are_stored_with_their_graphs(tmp_path):
    out = export_checkpoint(random_checkpoint(tmp_path / "c", shape=UNTIED), tmp_path / "out")
    assert not [path for path in out.iterdir() if ".data" in path.name]


def test_weights_beside_a_graph_are_continued_in_another_file(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", 0)
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    expected = some_logits(export_checkpoint(checkpoint, tmp_path / "whole"))
    out = export_checkpoint(checkpoint, tmp_path / "out", max_file_size=50_000)
    parts = sorted(path.name for path in out.glob("decoder.onnx.data*"))
    numbered = [f"decoder.onnx.data_{number}" for number in range(1, 8)]
    assert parts == ["decoder.onnx.data", *numbered]
    assert all((out / part).stat().st_size <= 50_000 for part in parts)
    assert read_header(out / "decoder.onnx").external == {*parts, "shared.data"}
    np.testing.assert_array_equal(some_logits(out), expected)


def test_a_tensor_larger_than_a_file_may_be_has_one_to_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", 0)
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    out = export_checkpoint(checkpoint, tmp_path / "out", max_file_size=1)
    assert (out / "shared.data").stat().st_size == 96 * 64 * 4
    assert np.isfinite(some_logits(out)).all()


@pytest.mark.parametrize("inline", [0, graph_files.INLINE_BYTES])
def test_progress_reaches_the_whole(tmp_path, monkeypatch, inline):
    monkeypatch.setattr(graph_files, "INLINE_BYTES", inline)
    seen = []
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    export_checkpoint(checkpoint, tmp_path / "out", progress=seen.append)
    for count in "bytes", "weights":
        done = [getattr(progress, count) for progress in seen]
        assert done == sorted(done)
        assert done[-1] == getattr(seen[-1], f"all_{count}") > 0
    # One weight of the checkpoint after the other, the tied table once.
    assert seen[-1].weights == len(load_file(checkpoint / "model.safetensors"))


def test_shards_make_the_export_of_one_file(tmp_path):
    outs = [
        export_checkpoint(
            random_checkpoint(tmp_path / f"checkpoint{shards}", shards=shards),
            tmp_path / f"out{shards}",
        )
        for shards in (1, 4)
    ]
    for name in "vision_encoder.onnx", "embeddings.onnx", "decoder.onnx":
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()


def test_bfloat16_weights_are_taken_exactly(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    halves, entries, offset = [], {}, 0
    for name, weight in load_file(checkpoint / "model.safetensors").items():
        data = weight.astype(ml_dtypes.bfloat16).tobytes()
        entries[name] = {
            "dtype": "BF16",
            "shape": list(weight.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        offset += len(data)
        halves.append(data)
    write_safetensors(checkpoint / "model.safetensors", entries, b"".join(halves))
    from tests.export.reference import Prompt, Reference

    out = export_checkpoint(checkpoint, tmp_path / "out")
    expected = Reference(checkpoint).logits(Prompt(np.arange(7), None, None))[-1]
    assert np.abs(some_logits(out)[0, 0] - expected).max() <= 1e-4 * np.abs(expected).max()


def test_what_transformers_saves_is_exported(tmp_path, pairs):
    made = pairs("untied, one kv head")
    made.reference.model.save_pretrained(tmp_path / "saved", max_shard_size="200KB")
    assert (tmp_path / "saved" / "model.safetensors.index.json").is_file()
    out = export_checkpoint(tmp_path / "saved", tmp_path / "out")
    np.testing.assert_array_equal(some_logits(out), some_logits(made.folder))


def test_a_published_config_names_its_rotation_in_the_older_way(tmp_path, pairs):
    """Published checkpoints have `rope_theta` and `rope_scaling`, as transformers 4 wrote them."""
    made = pairs("untied, one kv head")
    checkpoint = random_checkpoint(tmp_path / "checkpoint", shape=made.shape)
    config = json.loads((checkpoint / "config.json").read_text())
    rope = config["text_config"].pop("rope_parameters")
    config["text_config"]["rope_theta"] = rope.pop("rope_theta")
    config["text_config"]["rope_scaling"] = rope
    (checkpoint / "config.json").write_text(json.dumps(config))
    out = export_checkpoint(checkpoint, tmp_path / "out")
    np.testing.assert_array_equal(some_logits(out), some_logits(made.folder))


def test_another_family_is_refused_with_the_known_ones(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        FamilyError, match=r"no exporter for the model_type 'mistral'; there is .*qwen3_vl"
    ):
        export_checkpoint(checkpoint, tmp_path / "out")
    assert export_checkpoint(checkpoint, tmp_path / "out", family="qwen3_vl").is_dir()
    with pytest.raises(UnknownComponent, match="did you mean 'qwen3_vl'"):
        export_checkpoint(checkpoint, tmp_path / "out", family="qwen3vl")


BROKEN_CONFIGS = {
    "no vision": (["vision_config"], None, "no `vision_config`"),
    "a missing size": (["text_config", "hidden_size"], None, "hidden_size is None"),
    "a size that is text": (["text_config", "hidden_size"], "64", "hidden_size is '64'"),
    "a size below one": (["vision_config", "depth"], 0, "depth is 0"),
    "scaled rotation": (
        ["text_config", "rope_parameters", "rope_type"],
        "yarn",
        "rope_type is 'yarn', which cannot be exported: there is default",
    ),
    "an activation": (["text_config", "hidden_act"], "relu", "hidden_act is 'relu'"),
    "a vision activation": (["vision_config", "hidden_act"], "relu", "gelu_pytorch_tanh, gelu"),
    "a DeepStack layer": (
        ["vision_config", "deepstack_visual_indexes"],
        [1, 9],
        "each is one of the blocks 0 to 3",
    ),
    "kv heads": (["text_config", "num_key_value_heads"], 3, "divides the 4 attention heads"),
    "head size": (["text_config", "head_dim"], 12, "a multiple of 8"),
    "positions": (["vision_config", "num_position_embeddings"], 35, "a square"),
    "vision heads": (["vision_config", "num_heads"], 5, "a multiple of 20"),
    "a size that the weights do not have": (
        ["text_config", "intermediate_size"],
        100,
        r"gate_proj.weight has the shape \[96, 64\], but config.json implies \[100, 64\]",
    ),
}


@pytest.mark.parametrize("case", BROKEN_CONFIGS)
def test_a_config_that_cannot_be_exported_names_the_key(tmp_path, case):
    path, value, message = BROKEN_CONFIGS[case]
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (checkpoint / "config.json").write_text(json.dumps(config))
    from triptych.core.errors import TriptychError

    with pytest.raises(TriptychError, match=message):
        export_checkpoint(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_without_deepstack_keeps_the_ports(tmp_path):
    from dataclasses import replace

    shape = replace(SHAPES["tied"], deepstack=())
    out = export_checkpoint(random_checkpoint(tmp_path / "c", shape=shape), tmp_path / "out")
    graphs = Graphs(out)
    _, deepstack = graphs.vision(np.zeros((16, 1536), np.float32), np.array([[1, 4, 4]]))
    assert deepstack.shape == (0, 4, 64)
    assert np.isfinite(some_logits(out)).all()


def test_exporting_imports_neither_torch_nor_transformers(tmp_path):
    checkpoint = random_checkpoint(tmp_path / "checkpoint")
    script = (
        "import sys; from pathlib import Path; from triptych.export import export_checkpoint;"
        f"export_checkpoint(Path({str(checkpoint)!r}), Path({str(tmp_path / 'out')!r}));"
        "print({'torch', 'transformers', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_what_is_offered_can_be_read_without_the_extra():
    """The catalog lists exporters where onnx_ir is not installed."""
    script = (
        "import sys; sys.modules['onnx_ir'] = None;"
        "from triptych.core.components.catalog import Catalog;"
        "print('qwen3_vl' in Catalog().names('exporters'));"
        "import triptych.export;"
        "\ntry: triptych.export.export_checkpoint"
        "\nexcept triptych.export.MissingExtra as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "True",
        "Exporting needs onnx_ir, which is not installed: pip install 'triptych[export]'.",
    ]
